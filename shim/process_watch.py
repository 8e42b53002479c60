"""Learning of the end of processes, children or not, on the asyncio loop (pidfd_open(2))."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


class ProcessWatch:
    """Calls *on_end(pid, name)* once for each added process that ends."""

    def __init__(self, on_end: Callable[[int, str], None]) -> None:
        self._on_end = on_end
        self._pidfds: dict[int, int] = {}

    def add(self, pid: int, name: str) -> bool:
        """Watch a process; False if it has ended already. A second time changes nothing."""
        if pid in self._pidfds:
            return True
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        self._pidfds[pid] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._ended, pid, name)
        return True

    def close(self) -> None:
        """Stop watching."""
        for pid in tuple(self._pidfds):
            self._drop(pid)

    def _ended(self, pid: int, name: str) -> None:
        self._drop(pid)
        self._on_end(pid, name)

    def _drop(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
