"""Ask the kernel to bind, and ask it what it did.

The kernel silently narrows a mask to the CPUs of the task's cpuset (sched_setaffinity(2) fails
with EINVAL only if nothing is left), so a binding is believed only after it was read back.
Affinity belongs to a thread; children inherit it at fork and keep it across exec.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cpusets.cpuset import CpuSet
from cpusets.errors import BindingError


@dataclass(frozen=True, slots=True)
class Bound:
    """What was asked for and what the kernel made of it."""

    asked: CpuSet
    effective: CpuSet

    @property
    def narrowed(self) -> bool:
        """True where the kernel took CPUs away."""
        return self.effective != self.asked


def get_affinity(tid: int = 0) -> CpuSet:
    """The mask of a thread, 0 for the caller's. Masks of any size: Python asks the kernel with
    growing buffers until it fits. Raises BindingError."""
    try:
        return CpuSet.of(os.sched_getaffinity(tid))
    except OSError as error:
        raise BindingError(
            f"The affinity of thread {tid} cannot be read: {error.strerror}."
        ) from error


def set_affinity(cpus: CpuSet, tid: int = 0) -> Bound:
    """Bind one thread, 0 for the caller, and read the result back. Raises BindingError."""
    if not cpus:
        raise BindingError(f"Thread {tid} cannot be bound to no CPU at all.", "Name at least one.")
    try:
        os.sched_setaffinity(tid, cpus)
    except OSError as error:
        raise BindingError(
            f"Thread {tid} cannot be bound to CPUs {cpus}: {error.strerror}.",
            "Some of them must be online and in the job's cpuset.",
        ) from error
    return Bound(cpus, get_affinity(tid))


def threads_of(pid: int) -> Iterator[int]:
    """The thread ids of a process; nothing where it has gone."""
    try:
        yield from sorted(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return


def set_process_affinity(pid: int, cpus: CpuSet) -> Bound:
    """Bind all threads of a process, also those that are born meanwhile.

    A thread created during the walk inherits its creator's mask, so the walk is repeated until
    it finds nobody new. Raises BindingError.
    """
    done: set[int] = set()
    while fresh := [tid for tid in threads_of(pid) if tid not in done]:
        for tid in fresh:
            _bind_unless_gone(pid, tid, cpus)
        done.update(fresh)
    return Bound(cpus, get_affinity(pid))


def _bind_unless_gone(pid: int, tid: int, cpus: CpuSet) -> None:
    try:
        set_affinity(cpus, tid)
    except BindingError:
        if Path(f"/proc/{pid}/task/{tid}").exists():
            raise
