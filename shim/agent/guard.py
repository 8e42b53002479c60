"""The agent's end of the pipe to its guard (the protocol is in c_ext/frontend/guard.h)."""

from __future__ import annotations

import os


class GuardPipe:
    """Tells the guard whom to end if this agent dies."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_inheritable(fd, False)

    def rank(self, pid: int) -> None:
        self._line(f"rank {pid}")

    def gone(self, pid: int) -> None:
        self._line(f"gone {pid}")

    def keeper(self, pid: int) -> None:
        self._line(f"keeper {pid}")

    def fatal(self, exit_code: int, text: str) -> None:
        """The sentence with which this agent ends on its own accord."""
        self._line(f"fatal {exit_code} {' '.join(text.split())}")

    def say(self, text: str) -> None:
        """Lines for the user: the guard holds the standard error of the rank that started us."""
        for line in text.splitlines():
            self._line(f"say {line}")

    def done(self) -> None:
        self._line("done")

    def _line(self, text: str) -> None:
        """Lines shorter than PIPE_BUF are written whole (pipe(7)); a dead guard is not our end:
        the parent-death signal tells us of it."""
        try:
            os.write(self._fd, f"{text[:4000]}\n".encode(errors="replace"))
        except BrokenPipeError:
            return
