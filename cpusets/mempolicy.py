"""Memory policies of set_mempolicy(2): their numbers, and which one a rank gets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cpusets.cpuset import EMPTY, CpuSet
from cpusets.errors import PlanError
from cpusets.topology import Topology


class Mode(IntEnum):
    """The modes of the kernel's `include/uapi/linux/mempolicy.h`."""

    DEFAULT = 0
    PREFERRED = 1
    BIND = 2
    INTERLEAVE = 3
    LOCAL = 4
    PREFERRED_MANY = 5  # since Linux 5.15
    WEIGHTED_INTERLEAVE = 6  # since Linux 6.9


@dataclass(frozen=True, slots=True)
class MemoryPolicy:
    """A policy and the OS indices of the NUMA nodes it names (none for DEFAULT and LOCAL)."""

    mode: Mode = Mode.DEFAULT
    nodes: CpuSet = EMPTY

    def __str__(self) -> str:
        """As /proc/PID/numa_maps writes it: `default`, `bind:0-1`, `prefer (many):0-1`."""
        name = _KERNEL_NAMES[self.mode]
        return f"{name}:{self.nodes}" if self.nodes else name


# policy_modes[] of the kernel's mm/mempolicy.c
_KERNEL_NAMES = {
    Mode.DEFAULT: "default",
    Mode.PREFERRED: "prefer",
    Mode.BIND: "bind",
    Mode.INTERLEAVE: "interleave",
    Mode.LOCAL: "local",
    Mode.PREFERRED_MANY: "prefer (many)",
    Mode.WEIGHTED_INTERLEAVE: "weighted interleave",
}
DEFAULT_POLICY = MemoryPolicy()
_BY_NAME = {
    "none": Mode.DEFAULT,
    "local": Mode.LOCAL,
    "bind": Mode.BIND,
    "preferred": Mode.PREFERRED,
    "interleave": Mode.INTERLEAVE,
}


def mode_named(name: str) -> Mode:
    """The mode of a policy's name. Raises PlanError naming those that are known."""
    mode = _BY_NAME.get(name)
    if mode is None:
        raise PlanError(f"{name!r} is no memory policy.", f"Use one of {', '.join(_BY_NAME)}.")
    return mode


def policy_for(topology: Topology, cpus: CpuSet, name: str) -> MemoryPolicy:
    """The policy called `name` (`none`, `local`, `bind`, `preferred`, `interleave`) for a rank.

    The nodes are those with memory that hold the rank's CPUs; `preferred` takes the first of
    them, since the kernel takes one only. Raises PlanError for another name.
    """
    mode = mode_named(name)
    if mode in (Mode.DEFAULT, Mode.LOCAL):
        return MemoryPolicy(mode)
    near = CpuSet.of(
        node.os_index or 0 for node in topology.numa_nodes if node.cpus & cpus and node.memory
    )
    if mode is Mode.PREFERRED and near:
        near = CpuSet.of([near.first()])
    return MemoryPolicy(mode, near) if near else MemoryPolicy(Mode.LOCAL)
