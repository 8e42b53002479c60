"""Ending a cluster, however it died: its processes, and with them every namespace and mount.

All mounts of a node exist in the node's own mount namespace only, and every process on it lives
in its PID namespace: when pid 1 dies the kernel ends them all and drops both.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from shim.errors import ShimError
from testbed.node_init import MARK
from testbed.paths import remove_tree
from testbed.state import directory_of, load

_PATIENCE = 10.0
"""Seconds that the kernel gets to end a node's processes."""


def dismantle(name: str, directory: Path) -> None:
    """End everything of the cluster ``name`` and empty its state directory.

    Works without, or with half of, a state file: the processes that hold namespaces carry
    the cluster's directory in their environment. Call with the directory locked.
    """
    deadline = time.monotonic() + _PATIENCE
    while pids := set(holders_of(name)):
        for pid in pids:
            _kill(pid)
        if time.monotonic() > deadline:
            raise ShimError(
                f"Processes {sorted(pids)} of the cluster {name!r} do not end.",
                "Look at them with ps; a process in state D waits for the kernel.",
            )
        time.sleep(0.01)
    for entry in list(directory.iterdir()):
        remove_tree(entry) if entry.is_dir() else entry.unlink()


def holders_of(name: str) -> Iterator[int]:
    """Host pids of the processes that hold a namespace of the cluster, zombies left out."""
    state = load(name)
    recorded = {holder.pid for holder in state.holders.values() if holder.alive} if state else set()
    yield from recorded
    marked = f"{MARK}={directory_of(name)}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in recorded:
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if marked in environment.split(b"\0"):
            yield int(entry.name)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
