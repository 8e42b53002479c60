"""The processes of this node's ranks as the agent knows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum


class ProcessState(IntEnum):
    """pmix_proc_state_t, the states that are told."""

    UNDEFINED = 0
    RUNNING = 5
    CONNECTED = 6
    TERMINATED = 20


@dataclass(frozen=True)
class LocalProcess:
    """One rank of this node.

    Attributes:
        pid: as the host sees it, for debuggers attach from outside; 0 for none.
        executable: its file's path as the container sees it; "" if it is not known.
    """

    rank: int
    pid: int
    state: ProcessState
    executable: str = ""


Processes = Callable[[str], Sequence[LocalProcess]]
"""The ranks of a namespace that are on this node."""
