"""Damage a topology file in many ways and load each; a crash of hwloc ends this program.

Run as `python -m tests.cpusets.fuzz_xml FILE FIRST LAST`: prints how many loaded and how many
were refused, and on standard error the seed it is at.
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
from pathlib import Path

from cpusets import NodeRequest, PlanError, Topology, TopologyError, plan_node

_VALUES = [
    "", "-1", "0x0", "0xffffffff,0xffffffff", "99999999999999999999", "0xf...f", "x", "0",
    "NUMANode", "Core", "PU", "Machine", "Group", "0000:ff:ff.f", "1e9",
]  # fmt: skip


def damaged(source: str, seed: int) -> str:
    """The text with one to three random injuries."""
    choose = random.Random(seed)
    for _ in range(choose.choice([1, 1, 1, 2, 3])):
        source = choose.choice(
            [_cut, _line_lost, _lines_swapped, _value, _value, _attribute, _twice]
        )(choose, source)
    return source


def _cut(choose: random.Random, text: str) -> str:
    at = choose.randrange(len(text))
    return text[:at] + text[at + choose.randrange(1, 400) :]


def _line_lost(choose: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    del lines[choose.randrange(len(lines))]
    return "".join(lines)


def _lines_swapped(choose: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    a, b = choose.randrange(len(lines)), choose.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return "".join(lines)


def _twice(choose: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    at = choose.randrange(len(lines))
    return "".join([*lines[:at], *[lines[at]] * choose.randrange(2, 5), *lines[at + 1 :]])


def _value(choose: random.Random, text: str) -> str:
    found = choose.choice(list(re.finditer(r'\w+="([^"]*)"', text)))
    return text[: found.start(1)] + choose.choice(_VALUES) + text[found.end(1) :]


def _attribute(choose: random.Random, text: str) -> str:
    found = choose.choice(list(re.finditer(r'\w+="[^"]*"', text)))
    return text[: found.start()] + text[found.end() :]


def main(source: str, first: int, last: int) -> None:
    loaded = refused = 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "damaged.xml"
        for seed in range(first, last):
            print(f"seed {seed}", file=sys.stderr, flush=True)
            path.write_text(damaged(source, seed), encoding="utf-8")
            try:
                topology = Topology.from_xml(path)
                loaded += 1
                plan_node(topology, topology.allowed, NodeRequest((0, 1, 2)))
            except TopologyError:
                refused += 1
            except PlanError:
                pass
    print(loaded, refused)


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text(encoding="utf-8"), int(sys.argv[2]), int(sys.argv[3]))
