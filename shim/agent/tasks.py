"""The launcher's tasks on this node that may yet start ranks of ours.

`srun bash -c 'shim exec IMG a; shim exec IMG b'`: the task is the shell. While it lives, another
program of the same rank may come, and finds agent and container as the last one left them. And
where only some tasks of a step call `shim exec`, the agent need not wait for the others once
they have ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

from shim.process_tree import children
from shim.process_watch import ProcessWatch

_STEP = "slurmstepd"
"""Starts all tasks of a step on a node at once, and nothing else as our user (slurmstepd/mgr.c)."""

_LAUNCHERS = frozenset({_STEP, "prted", "prterun", "prte", "orted", "mpirun"})
"""Programs whose children are tasks, by the name that the kernel keeps (proc(5), comm)."""


class TaskWatch:
    """Knows which tasks still live."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._living: set[int] = set()
        self._steps: set[int] = set()
        self._watch = ProcessWatch(self._ended)

    def living(self, ranks: Collection[int]) -> bool:
        """Whether a task lives that is none of the processes *ranks*."""
        return not self._living <= set(ranks)

    @property
    def complete(self) -> bool:
        """Whether all tasks of this node are known, so that no rank comes once they have ended."""
        return bool(self._steps)

    def note(self, rank_pid: int) -> None:
        """A rank has come: keep an eye on its task, and on those beside it."""
        task, launcher = task_of(rank_pid)
        if launcher in self._steps or task is None or launcher is None:
            return
        if _name(launcher) == _STEP:
            self._steps.add(launcher)
            self._add(*children(launcher))
        else:
            self._add(task)

    def close(self) -> None:
        self._watch.close()

    def _add(self, *pids: int) -> None:
        self._living.update(pid for pid in pids if self._watch.add(pid, ""))

    def _ended(self, pid: int, _: str) -> None:
        self._living.discard(pid)
        self._on_end()


def task_of(pid: int) -> tuple[int | None, int | None]:
    """The ancestor of *pid*, or *pid* itself, that a launcher started, and that launcher."""
    while pid > 1:
        parent = _parent(pid)
        if parent is None:
            break
        if _name(parent) in _LAUNCHERS:
            return pid, parent
        pid = parent
    return None, None


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[1])


def _name(pid: int) -> str:
    try:
        return os.fsdecode(Path(f"/proc/{pid}/comm").read_bytes().strip())
    except OSError:
        return ""
