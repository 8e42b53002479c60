"""Cores of several speeds on one chip: which of them `auto` puts ranks on."""

from __future__ import annotations

from cpusets.cpuset import EMPTY, CpuSet
from cpusets.request import NodeRequest
from cpusets.shares import cores_of
from cpusets.topology import Topology


def preferred(topology: Topology, usable: CpuSet, request: NodeRequest) -> CpuSet:
    """The fastest kinds of cores alone, as long as they have one for each computing thread.

    Ranks wait for the slowest, so a slow core among fast ones costs more than it adds; where the
    fast ones do not suffice, all are used. hwloc's efficiency is -1 where it cannot tell.
    """
    kinds = [kind for kind in topology.cpu_kinds if kind.cpus & usable]
    if request.map_by is not None or any(kind.efficiency < 0 for kind in kinds):
        return usable
    fast = EMPTY
    for efficiency in sorted({kind.efficiency for kind in kinds}, reverse=True):
        for kind in kinds:
            if kind.efficiency == efficiency:
                fast |= kind.cpus & usable
        if _units(topology, fast, request) >= len(request.ranks) * _units_per_rank(request):
            return fast
    return usable


def _units(topology: Topology, cpus: CpuSet, request: NodeRequest) -> int:
    return len(cpus if request.unit == "pu" else cores_of(topology, cpus))


def _units_per_rank(request: NodeRequest) -> int:
    per_core = 1 if request.unit == "pu" else request.smt or 1
    return request.cpus_per_rank or -(-(request.threads or 1) // per_core)
