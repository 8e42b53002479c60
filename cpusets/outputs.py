"""A plan in the notations of other tools: Slurm masks, a rank file, OpenMP variables, JSON."""

from __future__ import annotations

import json

from cpusets.job import JobPlan
from cpusets.openmp import openmp_environment
from cpusets.plan import RankPlacement
from cpusets.rankfile import format_rankfile
from cpusets.topology import Topology

SCHEMA = "shim.map/1"


def slurm_bindings(plan: JobPlan) -> dict[str, str]:
    """Each node's `--cpu-bind` argument, by node name.

    srun takes one list for all nodes of a step (srun(1), --cpu-bind: applied "on each node"), so
    one command serves only nodes whose lists are equal. Task i of a node gets mask i: where a
    node's ranks are not consecutive, srun needs the matching `--distribution`.
    """
    return {
        planned.node.name: "mask_cpu:"
        + ",".join(placement.cpus.hex_mask() for placement in planned.plan.placements)
        for planned in plan.nodes
    }


def rankfile(plan: JobPlan) -> str:
    """A rank file for `prterun --map-by rankfile:file=…` or for us."""
    return format_rankfile(
        {
            planned.node.name: (
                planned.node.topology,
                {placement.rank: placement.cpus for placement in planned.plan.placements},
            )
            for planned in plan.nodes
        }
    )


def openmp_lines(plan: JobPlan) -> str:
    """One line per rank with the variables of OpenMP, to paste behind `env`."""
    lines = []
    for _, placement in plan.placements():
        words = (f"{name}={value}" for name, value in openmp_environment(placement, {}).items())
        lines.append(f"rank {placement.rank}: {' '.join(words)}\n")
    return "".join(lines)


def to_json(plan: JobPlan) -> str:
    """The plan as JSON, by node; sets are lists of OS indices (`"0-3,8"`)."""
    nodes = [
        {
            "node": planned.node.name,
            "source": planned.plan.source,
            "allowed": str(planned.node.allowed),
            "ranks": [_entry(planned.node.topology, p) for p in planned.plan.placements],
        }
        for planned in plan.nodes
    ]
    return json.dumps({"schema": SCHEMA, "nodes": nodes}, indent=2) + "\n"


def _entry(topology: Topology, placement: RankPlacement) -> dict[str, object]:
    return {
        "rank": placement.rank,
        "cpus": str(placement.cpus),
        "cores_logical": [core.logical_index for core in topology.spanned("core", placement.cpus)],
        "numa": numa_of(topology, placement),
        "threads": placement.threads,
        "places": [str(place) for place in placement.places],
        "gpus": [{"name": gpu.name, "pci": gpu.pci, "uuid": gpu.uuid} for gpu in placement.gpus],
        "memory": str(placement.memory),
    }


def numa_of(topology: Topology, placement: RankPlacement) -> list[int]:
    """OS indices of the NUMA nodes that a rank's CPUs belong to."""
    return [node.os_index or 0 for node in topology.numa_nodes if node.cpus & placement.cpus]
