"""Slurm's hostlist notation, `n[1-3,07],gpu1`, expanded.

Slurm writes lists of nodes this way into the environment of every step (srun(1), OUTPUT
ENVIRONMENT VARIABLES; the notation is in slurm.conf(5), NodeName). `scontrol show hostnames`
does the same, but costs a process and needs the client tools where we run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BRACKET = re.compile(r"\[([^\]]*)\]")


def expand(text: str) -> tuple[str, ...]:
    """Expand a hostlist; the order of the text is kept.

    Raises:
        ValueError: the text is not a hostlist.
    """
    return tuple(name for part in _split(text.strip()) for name in _expand_one(part))


def _split(text: str) -> Iterator[str]:
    """Cut at the commas that stand outside brackets."""
    depth, start = 0, 0
    for at, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if depth not in (0, 1):
            raise ValueError(f"unbalanced brackets in hostlist {text!r}")
        if char == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    if depth:
        raise ValueError(f"unbalanced brackets in hostlist {text!r}")
    if text[start:]:
        yield text[start:]


def _expand_one(part: str) -> Iterator[str]:
    found = _BRACKET.search(part)
    if not found:
        if part:
            yield part
        return
    head, tail = part[: found.start()], part[found.end() :]
    for number in _numbers(found.group(1)):
        yield from _expand_one(head + number + tail)


def _numbers(ranges: str) -> Iterator[str]:
    for item in ranges.split(","):
        low, dash, high = item.partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise ValueError(f"not a range of node numbers: {item!r}")
        for value in range(int(low), int(high or low) + 1):
            yield str(value).zfill(len(low))


def expand_counts(text: str) -> tuple[int, ...]:
    """Expand SLURM_TASKS_PER_NODE's and SLURM_JOB_CPUS_PER_NODE's `2(x3),1` to (2, 2, 2, 1).

    Raises:
        ValueError: the text is not of that form.
    """
    counts: list[int] = []
    for item in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", item.strip())
        if not found:
            raise ValueError(f"not a count per node: {item!r}")
        counts += [int(found.group(1))] * int(found.group(2) or 1)
    return tuple(counts)
