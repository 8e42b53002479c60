"""Planning: a whole machine at once, and one node against PRRTE's mapper.

    python benchmarks/map.py [--quick] [--json FILE] [--check]

The first part plans 4,096 nodes of three kinds with 128 ranks each, in a fresh process, and takes
its time and peak memory. The second runs `shim map` and `prterun` (which maps and then does not
launch) on the same node in turns, as commands from start to end, and compares their maps.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.harness import (  # noqa: E402
    note,
    parser,
    presentable,
    report,
    rounds_of,
    timed,
    watch,
)
from benchmarks.pairs import Absolute, Finding, Spread, alternate, compare  # noqa: E402
from cpusets import CpuSet  # noqa: E402
from shim.errors import ShimError  # noqa: E402
from testbed import Cluster  # noqa: E402

NODES, RANKS_PER_NODE = 4096, 128
MOST_SECONDS, MOST_MIB = 2.0, 300.0
KINDS = ("pack:2 numa:4 l3:2 core:8 pu:2", "pack:2 numa:2 core:32 pu:1", "numa:8 l3:3 core:8 pu:2")
XML = ROOT / "tests" / "cpusets" / "fixtures" / "four-gpus.xml"
CASES = ((8, "core", "core"), (8, "numa", "core"), (4, "numa", "numa"), (4, "package", "core"))

# Runs in a fresh interpreter, so that peak memory is the plan's own.
_PLAN = """
import json, resource, sys, time
from cpusets import NodeRequest, Topology
from cpusets.job import Node, plan_job
kinds, nodes, per_node = json.loads(sys.argv[1])
machines = [Topology.from_synthetic(kind) for kind in kinds]
job = [Node(f"n{i}", m := machines[i % len(machines)], m.complete) for i in range(nodes)]
start = time.perf_counter()
plan = plan_job(job, nodes * per_node, NodeRequest(()), ranks_per_node=per_node)
seconds = time.perf_counter() - start
assert sum(len(node.plan.placements) for node in plan.nodes) == nodes * per_node
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""

_BOUND = re.compile(r"rank: (\d+) Bound: (\S+)")
_CORES = re.compile(r"\[core:([0-9,\-]+)\]")


@dataclass(frozen=True)
class Mapped:
    """One mapping: the seconds of the command, and each rank's logical cores."""

    seconds: float
    cores: dict[int, list[int]]


def plan_once() -> tuple[float, float]:
    """Seconds and MiB of planning the whole machine."""
    done = subprocess.run(
        [sys.executable, "-c", _PLAN, json.dumps([KINDS, NODES, RANKS_PER_NODE])],
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    seconds, mib = json.loads(done.stdout)
    return seconds, mib


def ours(cluster: Cluster, xml: str, case: tuple[int, str, str]) -> Mapped:
    """`shim map`, as a command on the head node."""
    ranks, map_by, bind_to = case
    step = timed(
        cluster,
        ["shim", "map", "-n", str(ranks), "--topology", xml, "--map-by", map_by,
         "--bind-to", bind_to, "--output", "json"],
    ).checked()  # fmt: skip
    (node,) = json.loads(step.stdout)["nodes"]
    return Mapped(step.wall_s, {rank["rank"]: rank["cores_logical"] for rank in node["ranks"]})


def theirs(cluster: Cluster, xml: str, case: tuple[int, str, str]) -> Mapped:
    """`prterun`, which maps the same and launches nothing."""
    ranks, map_by, bind_to = case
    step = timed(
        cluster,
        ["prterun", "--host", "localhost:64", "-n", str(ranks), "--map-by", map_by,
         "--bind-to", bind_to, "--display", "map", "--runtime-options", "donotlaunch",
         "--prtemca", "hwloc_use_topo_file", xml, "true"],
    ).checked()  # fmt: skip
    return Mapped(step.wall_s, prrte_map(step.stdout + step.stderr))


def prrte_map(text: str) -> dict[int, list[int]]:
    """Each rank's logical cores, from prterun's display."""
    return {
        int(rank): [core for cores in _CORES.findall(bound) for core in CpuSet.parse(cores)]
        for rank, bound in _BOUND.findall(text)
    }


@contextmanager
def head_node(args: argparse.Namespace) -> Iterator[Cluster]:
    """A cluster to run both commands on; one node is enough, and no image is needed."""
    name = args.cluster or "shim-bench-map"
    try:
        cluster, ours_to_end = Cluster.attach(name), False
    except ShimError:
        note(f"bringing up the cluster {name}")
        cluster, ours_to_end = Cluster.up(name, nodes=1), not args.keep
    try:
        yield cluster
    finally:
        if ours_to_end:
            cluster.down()


def against_prrte(cluster: Cluster, rounds: int) -> tuple[list[Finding], list[str]]:
    """The commands' times, and a sentence for every case whose maps differ."""
    target = cluster.shared / "map-benchmark.xml"
    target.write_bytes(XML.read_bytes())
    xml = f"/shared/{target.name}"
    findings, remarks = [], []
    try:
        for case in CASES:
            label = shlex.join(["-n", str(case[0]), "--map-by", case[1], "--bind-to", case[2]])
            sides = {
                "shim": partial(ours, cluster, xml, case),
                "prterun": partial(theirs, cluster, xml, case),
            }
            taken = alternate(sides, rounds, watch(label, rounds))
            mine, other = taken["shim"], taken["prterun"]
            findings.append(
                compare(f"map {label}", "s", "prterun donotlaunch",
                        [m.seconds for m in mine], [m.seconds for m in other])
            )  # fmt: skip
            same = mine[0].cores == other[0].cores
            remarks.append(f"{label}: {'equal maps' if same else 'maps differ'}")
    finally:
        target.unlink()
    return findings, remarks


def main() -> int:
    args: argparse.Namespace = parser(__doc__ or "", rounds=7, quick_rounds=3).parse_args()
    rounds = rounds_of(args)
    note(f"planning {NODES} nodes × {RANKS_PER_NODE} ranks, {rounds} times")
    plans = [plan_once() for _ in range(rounds)]
    label = f"plan {NODES} nodes × {RANKS_PER_NODE} ranks"
    absolutes = [
        Absolute(label, "s", Spread.of([seconds for seconds, _ in plans]), MOST_SECONDS),
        Absolute(f"{label}, peak memory", "MiB", Spread.of([mib for _, mib in plans]), MOST_MIB),
    ]
    try:
        with head_node(args) as cluster:
            findings, remarks = against_prrte(cluster, rounds)
        failures: list[str] = []
    except ShimError as error:
        findings, remarks, failures = [], [], [f"against prterun: {error}"]
    excluded = ["mpibind: its Python interface is in no package registry that is used here"]
    return report("map", args, findings, excluded, remarks, absolutes=absolutes, failures=failures)


if __name__ == "__main__":
    sys.exit(presentable(main))
