"""Learning of the end of processes, children or not, on the asyncio loop (pidfd_open(2))."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterable


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


class Stragglers:
    """Processes that should end by themselves, and are ended if they do not."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pidfds: list[int] = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self._pidfds.append(os.pidfd_open(pid))

    async def end(self, patience: float = 1.0) -> None:
        """End those that are left: SIGTERM, and after *patience* seconds SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = [pidfd for pidfd in self._pidfds if not _has_ended(pidfd)]
            for pidfd in left:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, number)
            deadline = asyncio.get_running_loop().time() + patience
            while left and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.01)
                left = [pidfd for pidfd in left if not _has_ended(pidfd)]
        for pidfd in self._pidfds:
            os.close(pidfd)
        self._pidfds.clear()


def _has_ended(pidfd: int) -> bool:
    # poll and not select: an agent of many ranks has descriptors beyond FD_SETSIZE.
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))
