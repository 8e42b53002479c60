"""Memory policies of set_mempolicy(2): their numbers, and how a rank's is written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cpusets.cpuset import EMPTY, CpuSet


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
        """As /proc/PID/numa_maps writes it: `default`, `bind:0-1`."""
        name = self.mode.name.lower().replace("preferred", "prefer").replace("_many", " (many)")
        return f"{name.replace('_', ' ')}:{self.nodes}" if self.nodes else name.replace("_", " ")
