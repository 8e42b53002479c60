"""Carry out a change of partitions on running processes, in the order of its steps."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cpusets.binding import Bound, set_process_affinity
from cpusets.cgroups import CpusetGroup
from cpusets.cpuset import CpuSet
from cpusets.errors import BindingError
from cpusets.partitions import Step

# System call numbers of migrate_pages(2), which glibc does not wrap.
_MIGRATE_PAGES = {"x86_64": 256, "aarch64": 238, "ppc64le": 258, "riscv64": 238}


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one step: by which means, and each process's effective mask."""

    step: Step
    by: str
    bound: Mapping[int, Bound]


def apply_steps(
    steps: Sequence[Step],
    members: Mapping[str, Iterable[int]],
    groups: Mapping[str, CpusetGroup] | None = None,
) -> tuple[Moved, ...]:
    """Move each partition's processes (pids by partition name) and read back where they are.

    A partition with a group of its own is moved by it and its processes' masks follow; the
    others by the affinity of all their threads. A process that has ended is left out. Raises
    BindingError where the kernel refuses; the steps before have then been carried out.
    """
    moved = []
    for step in steps:
        group = (groups or {}).get(step.name)
        if group is not None:
            group.resize(step.cpus)
        bound = {}
        for pid in members.get(step.name, ()):
            result = _bound(pid, step.cpus)
            if result is not None:
                bound[pid] = result
        moved.append(Moved(step, "affinity" if group is None else "cgroup", bound))
    return tuple(moved)


def _bound(pid: int, cpus: CpuSet) -> Bound | None:
    try:
        return set_process_affinity(pid, cpus)
    except BindingError:
        if os.path.exists(f"/proc/{pid}"):
            raise
        return None


def migrate_pages(pid: int, source: CpuSet, target: CpuSet) -> int:
    """Move a process's pages from some NUMA nodes to others; how many could not be moved.

    Every page is copied, so this is never done unasked. Raises BindingError.
    """
    number = _MIGRATE_PAGES.get(platform.machine())
    if number is None:
        raise BindingError(f"Pages cannot be moved on {platform.machine()}.")
    libc = ctypes.CDLL(None, use_errno=True)
    size = max(len(source.to_bytes()), len(target.to_bytes()))
    # The kernel reads maxnode - 1 bits of each mask (get_nodes() in mm/mempolicy.c).
    left = libc.syscall(
        ctypes.c_long(number),
        ctypes.c_int(pid),
        ctypes.c_ulong(size * 8 + 1),
        source.to_bytes(size),
        target.to_bytes(size),
    )
    if left < 0:
        error = ctypes.get_errno()
        raise BindingError(f"Pages of process {pid} cannot be moved: {os.strerror(error)}.")
    return int(left)
