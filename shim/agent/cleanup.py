"""Removing the step's files, which is the guard's work while there is a guard.

Must do what c_ext/frontend/rendezvous.c does in rendezvous_remove.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from pathlib import Path

from shim.agent.shared_memory import directory_of


def remove_step(run_dir: Path, key: str) -> None:
    """Remove the step's directories and, if this was the last step, the user's."""
    shutil.rmtree(directory_of(key), ignore_errors=True)
    with contextlib.suppress(OSError), open(run_dir / "lock", "rb") as lock:
        # Nobody may be between looking for an agent and becoming one.
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(run_dir, ignore_errors=True)
        run_dir.parent.rmdir()
