"""PRRTE's mapper as an independent answer: what prterun would do on the same machines, live.

It maps (`--runtime-options donotlaunch`) on a topology file and launches nothing. Where the words
mean the same the maps are equal; docs/mapping.md names the differences (D1, D2, D4, D8).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpusets import CpuSet, Topology, plan_node
from cpusets.cpuset import union
from cpusets.explicit import core_numbers
from cpusets.options import MappingOptions, request_on
from testbed import Cluster
from tests.cpusets.strategies import MACHINES

pytestmark = pytest.mark.cluster

FIXTURE = Path(__file__).with_name("fixtures") / "four-gpus.xml"
REAL = [MACHINES / "prrte" / name for name in ("test-topo.xml", "test-topo2.xml")]
FILES = [FIXTURE, *(path for path in REAL if path.exists())]

# Bound to the object that is mapped by, or to cores; smaller targets are D8.
CASES = [
    (ranks, map_by, rank_by, bind_to)
    for ranks in (3, 7)
    for map_by, bind_to in (
        ("core", "core"),
        ("numa", "core"),
        ("numa", "numa"),
        ("l3cache", "core"),
        ("l3cache", "l3cache"),
        ("package", "core"),
        ("package", "package"),
        ("numa:pe=2", "core"),
        ("slot:pe=2", "core"),
    )
    for rank_by in (None, "fill", "span")
    if not (rank_by and map_by.startswith(("slot", "core")))
]


def ask_prterun(cluster: Cluster, file: str) -> list[dict[int, str]]:
    """For each case, every rank's logical cores; empty where prterun refused."""
    script = []
    for number, (ranks, map_by, rank_by, bind_to) in enumerate(CASES):
        argv = ["prterun", "--host", "localhost:256", "-n", str(ranks), "--map-by", map_by]
        argv += ["--rank-by", rank_by] if rank_by else []
        argv += ["--bind-to", bind_to, "--display", "map", "--runtime-options", "donotlaunch"]
        argv += ["--prtemca", "hwloc_use_topo_file", file, "true"]
        script.append(f"echo; echo case {number}; {shlex.join(argv)} </dev/null 2>&1")
    done = cluster.run(["sh", "-c", "\n".join(script)], timeout=280)
    found: list[dict[int, str]] = []
    for line in done.stdout.splitlines():
        if re.fullmatch(r"case \d+", line):
            found.append({})
        elif match := re.search(r"rank: (\d+) Bound: (\S+)", line):
            cores = re.findall(r"\[core:([0-9,\-]+)\]", match[2])
            found[-1][int(match[1])] = str(union(map(CpuSet.parse, cores)))
    return found


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def machine(
    request: pytest.FixtureRequest, cluster: Cluster
) -> Iterator[tuple[Topology, list[dict[int, str]]]]:
    path: Path = request.param
    target = cluster.shared / f"prterun-{path.name}"
    target.write_bytes(path.read_bytes())
    target.chmod(0o644)
    try:
        yield Topology.from_xml(path), ask_prterun(cluster, f"/shared/{target.name}")
    finally:
        target.unlink()


def test_where_the_words_mean_the_same_the_maps_are_equal(
    machine: tuple[Topology, list[dict[int, str]]],
) -> None:
    topology, answers = machine
    assert len(answers) == len(CASES)
    compared = 0
    for case, theirs in zip(CASES, answers, strict=True):
        ranks, map_by, rank_by, bind_to = case
        options = MappingOptions(map_by, rank_by, bind_to.removesuffix("cache"), oversubscribe=True)
        request = request_on(options, topology, topology.complete, range(ranks))
        if theirs:  # refused where it does not fit
            plan = plan_node(topology, topology.complete, request)
            ours = {p.rank: str(core_numbers(topology, p.cpus)) for p in plan.placements}
            assert ours == theirs, case
            compared += 1
    assert compared >= len(CASES) // 2
