"""The agent's end of the pipe to its guard (the protocol is in c_ext/frontend/guard.h)."""

from __future__ import annotations

import contextlib
import os


class GuardPipe:
    """Tells the guard whom to end if this agent dies."""

    def __init__(self, fd: int, voice_fd: int) -> None:
        self._fd = fd
        self._voice_fd = voice_fd
        os.set_inheritable(fd, False)
        if voice_fd > 2:
            os.set_inheritable(voice_fd, False)

    def rank(self, pid: int) -> None:
        self._line(f"rank {pid}")

    def gone(self, pid: int) -> None:
        self._line(f"gone {pid}")

    def keeper(self, pid: int) -> None:
        self._line(f"keeper {pid}")

    def upstream(self) -> None:
        """The launcher knows us: should we die, it can be asked to end the job everywhere."""
        self._line("upstream")

    def fatal(self, exit_code: int, text: str) -> None:
        """The sentence with which this agent ends on its own accord."""
        line = " ".join(text.split())
        if not self._line(f"fatal {exit_code} {line}"):
            self._speak(f"shim: {line}")

    def say(self, text: str) -> None:
        """Lines for the user: the guard holds the standard error of the rank that started us."""
        for line in text.splitlines():
            if not self._line(f"say {line}"):
                self._speak(line)

    def quiet(self) -> None:
        """Nothing will be said any more: let the user's standard error go, here and there."""
        self._line("quiet")
        if self._voice_fd > 2:
            with open(os.devnull, "wb") as null:
                os.dup2(null.fileno(), self._voice_fd, inheritable=False)

    def done(self) -> bool:
        """Everything is over. False: there is no guard to hear it, and to remove our files."""
        return self._line("done")

    def _line(self, text: str) -> bool:
        """Lines shorter than PIPE_BUF are written whole (pipe(7)). False: the guard is dead, which
        is not our end; the parent-death signal tells us of it."""
        try:
            os.write(self._fd, f"{text[:4000]}\n".encode(errors="replace"))
        except BrokenPipeError:
            return False
        return True

    def _speak(self, line: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._voice_fd, f"{line}\n".encode(errors="replace"))
