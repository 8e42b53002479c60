"""The processes that a process started, as the kernel lists them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def children(pid: int) -> Iterator[int]:
    """Of all its threads (proc(5), /proc/PID/task/TID/children)."""
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            yield from map(int, listing.read_bytes().split())
        except OSError:
            continue


def family(pid: int) -> tuple[int, ...]:
    """The process and all that descend from it now, parents first."""
    found = [pid]
    for one in found:  # grows while it is walked
        found.extend(child for child in children(one) if child not in found)
    return tuple(found)
