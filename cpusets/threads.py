"""The threads of running processes: where each may run, where it last ran, how busy it was."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cpusets.binding import get_affinity, threads_of
from cpusets.cpuset import CpuSet
from cpusets.errors import BindingError

# Fields of /proc/PID/task/TID/stat behind the name in parentheses (proc(5) numbers them from 3).
_UTIME, _STIME, _PROCESSOR = 14 - 3, 15 - 3, 39 - 3
# A thread that has used less of this share of the busiest one's time is a helper.
_BUSY_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class ThreadState:
    """One thread. `last_cpu` is where it last ran; `cpu_seconds` the time it has computed."""

    pid: int
    tid: int
    name: str
    cpus: CpuSet
    last_cpu: int
    cpu_seconds: float


def read_threads(pid: int, proc: Path = Path("/proc")) -> tuple[ThreadState, ...]:
    """The threads of a process, oldest first; none where it has gone."""
    found = (_read(pid, tid, proc) for tid in threads_of(pid))
    return tuple(thread for thread in found if thread is not None)


def _read(pid: int, tid: int, proc: Path) -> ThreadState | None:
    try:
        text = (proc / str(pid) / "task" / str(tid) / "stat").read_text(errors="replace")
        cpus = get_affinity(tid)
    except (OSError, BindingError):
        return None  # it ended while we looked
    name, _, tail = text.partition("(")[2].rpartition(")")
    fields = tail.split()
    ticks = int(fields[_UTIME]) + int(fields[_STIME])
    return ThreadState(
        pid, tid, name, cpus, int(fields[_PROCESSOR]), ticks / os.sysconf("SC_CLK_TCK")
    )


def busy(threads: Iterable[ThreadState]) -> tuple[ThreadState, ...]:
    """The threads that compute, without helpers such as those of MPI's progress engine."""
    known = tuple(threads)
    most = max((thread.cpu_seconds for thread in known), default=0.0)
    return tuple(t for t in known if t.cpu_seconds and t.cpu_seconds >= most * _BUSY_SHARE)


def thread_verdict(thread: ThreadState, rank_cpus: CpuSet, others: Iterable[ThreadState]) -> str:
    """`ok`, or what is wrong with a computing thread among the other computing threads."""
    if not thread.cpus <= rank_cpus:
        return f"may leave the rank's CPUs ({thread.cpus - rank_cpus})"
    rivals = [t for t in others if t.tid != thread.tid and len(t.cpus) == 1 == len(thread.cpus)]
    same = [str(t.tid) for t in rivals if t.cpus == thread.cpus]
    return f"shares CPU {thread.cpus} with thread {', '.join(same)}" if same else "ok"
