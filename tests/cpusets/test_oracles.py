"""Independent answers: what hwloc's own tools say about the same machines."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from cpusets import CpuSet, Topology
from cpusets.cpuset import union
from cpusets.shares import cores_of, split
from tests.cpusets.strategies import real_machines

SYNTHETIC = [
    "pack:2 numa:2 l3:2 core:4 pu:2",
    "numa:4 core:6 pu:1",
    "pack:2 numa:4 l3:2 core:8 pu:2",
    "pack:2 l3:3 core:5 pu:2",
    "numa:3 l3:2 core:3 pu:4",
]
MACHINES = [*SYNTHETIC, *map(str, real_machines())]
EVEN = [SYNTHETIC[0], SYNTHETIC[2]]


def loaded(machine: str) -> Topology:
    if machine.endswith(".xml"):
        return Topology.from_xml(machine)
    return Topology.from_synthetic(machine)


def hwloc(tool: str, *arguments: str) -> list[str]:
    program = shutil.which(tool)
    assert program, f"{tool} is not installed (Debian: hwloc-nox)"
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()


def mask(text: str) -> CpuSet:
    """hwloc's masks leave out groups of zeros: 0x1,,0x0."""
    return CpuSet.parse_mask(
        ",".join((group.removeprefix("0x") or "0").rjust(8, "0") for group in text.split(","))
    )


def distributed(machine: str, count: int) -> list[CpuSet]:
    return [mask(text) for text in hwloc("hwloc-distrib", "-i", machine, str(count))]


def numa_crossed(topology: Topology, shares: list[CpuSet]) -> int:
    """How many NUMA nodes are touched by shares, beyond one each."""
    return sum(len({n.cpus for n in topology.spanned("numa", cpus)}) - 1 for cpus in shares)


@pytest.mark.parametrize("machine", EVEN)
def test_on_even_machines_powers_of_two_are_shared_out_as_hwloc_distrib_does(machine: str) -> None:
    topology = loaded(machine)
    for count in (1, 2, 4, 8, 16):
        ours = split(topology, topology.allowed, count)
        assert list(ours) == distributed(machine, count), count


@pytest.mark.parametrize("machine", MACHINES)
def test_d3_d7_where_we_differ_shares_are_no_smaller_or_cross_fewer_numa_nodes(
    machine: str,
) -> None:
    topology = loaded(machine)
    cores = len(cores_of(topology, topology.allowed))
    for count in (n for n in (2, 3, 5, 6, 7, 9, 12, 24) if n <= cores):
        ours = list(split(topology, topology.allowed, count))
        theirs = distributed(machine, count)
        if sorted(map(str, ours)) == sorted(map(str, theirs)):
            continue
        smallest = [min(len(cores_of(topology, c)) for c in found) for found in (ours, theirs)]
        crossed = [numa_crossed(topology, found) for found in (ours, theirs)]
        homeless = topology.allowed - union(node.cpus for node in topology.numa_nodes)
        if not homeless:  # D7
            assert smallest[0] >= smallest[1] or crossed[0] < crossed[1], count
        assert crossed[0] <= crossed[1], count


@pytest.mark.parametrize("machine", MACHINES)
def test_objects_have_the_cpus_that_hwloc_calc_says(machine: str) -> None:
    topology = loaded(machine)
    for kind, name in (("package", "package"), ("l3", "l3"), ("core", "core")):
        objects = topology.of_kind(kind)
        if objects:
            last = len(objects) - 1
            (said,) = hwloc("hwloc-calc", "--disallowed", "-i", machine, f"{name}:{last}")
            assert mask(said) == objects[last].cpus
    numa = [node for node in topology.numa_nodes if node.cpus]
    (said,) = hwloc("hwloc-calc", "--disallowed", "-i", machine, f"numa:{numa[-1].logical_index}")
    assert mask(said) == numa[-1].cpus
