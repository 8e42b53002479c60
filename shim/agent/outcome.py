"""How a rank ended, in words and as an exit code (pure)."""

from __future__ import annotations

import os
import signal

REQUESTS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
"""Signals with which people and launchers ask programs to end, all of them and one by one."""

CRASH_PATIENCE = 0.3
"""Seconds for the other ranks to end too, before we call them waiting: a program often fails
in all ranks at once, and needs no help of ours then."""

REQUEST_PATIENCE = 5.0
"""The same where a rank died by a request: others may be saving their work because of it."""

CANCEL_PATIENCE = 30.0
"""The same where the launcher has told us that it ends the job; its own limit is Slurm's KillWait,
30 s by default."""


def how(status: int | None) -> str:
    """The end of a sentence that begins with the rank; *status* as wait(2) gives it."""
    if status is None:
        return "ended"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"was killed by signal {number} ({signal.strsignal(number) or 'unknown'})"
    return f"ended with exit code {os.WEXITSTATUS(status)}"


def job_code(status: int | None) -> int:
    """The exit code of a job that ends because a rank ended so; never 0."""
    if status is None:
        return 1
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status) or 1


def patience(status: int | None, *, cancelled: bool) -> float:
    """Seconds to wait for the others to end by themselves."""
    if cancelled:
        return CANCEL_PATIENCE
    if status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) in REQUESTS:
        return REQUEST_PATIENCE
    return CRASH_PATIENCE


def from_return_code(code: int) -> int:
    """A wait status from what subprocess gives: negative for a signal."""
    return -code if code < 0 else code << 8
