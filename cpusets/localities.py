"""The objects of a node that ranks are dealt over, and what is near to what."""

from __future__ import annotations

from cpusets.axes import OBJECTS, MapBy
from cpusets.cpuset import CpuSet
from cpusets.errors import PlanError
from cpusets.shares import memory_domains
from cpusets.topology import Topology


def objects_of(topology: Topology, usable: CpuSet, map_by: MapBy) -> tuple[CpuSet, ...]:
    """The parts of `usable` that a mapping deals ranks over. Raises PlanError if there are none."""
    if map_by.kind == "dist":
        return nearest_domains(topology, usable, map_by.device)
    if map_by.over == "node":
        return (usable,)
    require(topology, map_by.level, "map ranks by")
    return topology.parts(_hwloc_kind(map_by.level), usable)


def _hwloc_kind(level: str) -> str:
    return "pu" if level == "hwthread" else level


def require(topology: Topology, level: str, purpose: str) -> None:
    """Raise PlanError where the machine has no object of a level."""
    if not topology.of_kind(_hwloc_kind(level)):
        have = [o for o in OBJECTS if topology.of_kind(_hwloc_kind(o))]
        raise PlanError(f"This node has no {level} to {purpose}.", f"It has {', '.join(have)}.")


def nearest_domains(topology: Topology, usable: CpuSet, device: str) -> tuple[CpuSet, ...]:
    """The memory domains of `usable`, the nearest to a device first. Raises PlanError."""
    named = [d for d in topology.devices if device in (*d.names, d.pci, d.uuid)]
    if not named:
        names = ", ".join(d.name for d in topology.devices) or "none"
        raise PlanError(
            f"This node has no device {device!r}.", f"The devices that were found: {names}."
        )
    domains = memory_domains(topology, usable)
    home = named[0]
    return tuple(
        sorted(domains, key=lambda cpus: (not cpus & home.cpus, far(topology, home.numa, cpus)))
    )


def far(topology: Topology, nodes: CpuSet, cpus: CpuSet) -> int:
    """The least distance from NUMA nodes to those of some CPUs; 0 where the kernel has none."""
    if topology.numa_distances is None:
        return 0
    numbers, matrix = topology.numa_distances
    near = [node.os_index for node in topology.numa_nodes if node.cpus & cpus]
    return min(
        (
            matrix[numbers.index(a) * len(numbers) + numbers.index(b)]
            for a in nodes
            for b in near
            if a in numbers and b in numbers
        ),
        default=0,
    )
