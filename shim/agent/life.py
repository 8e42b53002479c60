"""What became of the ranks of this node (a state table without I/O).

A rank here is a process with a life of its own: under `srun` it is the Slurm task, and the agent
sees no more of its death than that its pidfd becomes readable (pidfd_open(2)). What PMIx said
before decides whether that death was a normal one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from pmix_server.processes import LocalProcess, ProcessState


class RankState(Enum):
    """The states of a rank, in the order in which it goes through them."""

    EXPECTED = "expected"
    RUNNING = "running"
    CONNECTED = "connected"
    """It called PMIx_Init: others may be waiting for it in a fence."""
    FINALIZED = "finalized"
    GONE = "gone"


PMIX_STATES = {
    RankState.EXPECTED: ProcessState.UNDEFINED,
    RankState.RUNNING: ProcessState.RUNNING,
    RankState.CONNECTED: ProcessState.CONNECTED,
    RankState.FINALIZED: ProcessState.RUNNING,
    RankState.GONE: ProcessState.TERMINATED,
}


class RankTable:
    """The ranks that this node is to run, and where each of them is."""

    def __init__(self, ranks: Iterable[int] = ()) -> None:
        self._states = dict.fromkeys(ranks, RankState.EXPECTED)
        self._ranks: dict[int, int] = {}

    def expect(self, ranks: Iterable[int]) -> None:
        """Learn of ranks that are to come; those that came already keep their state."""
        for rank in ranks:
            self._states.setdefault(rank, RankState.EXPECTED)

    def state(self, rank: int) -> RankState:
        return self._states[rank]

    def rank_of(self, pid: int) -> int | None:
        """The rank whose process *pid* is, while it runs."""
        return self._ranks.get(pid)

    @property
    def pids(self) -> tuple[int, ...]:
        """Host pids of the ranks that run."""
        return tuple(self._ranks)

    def processes(self) -> Iterator[LocalProcess]:
        """Every rank of this node as PMIx queries tell it."""
        pids = {rank: pid for pid, rank in self._ranks.items()}
        for rank, state in self._states.items():
            yield LocalProcess(rank, pids.get(rank, 0), PMIX_STATES[state])

    def __contains__(self, rank: object) -> bool:
        return rank in self._states

    def missing(self) -> tuple[int, ...]:
        """Ranks whose front-end has not come yet."""
        return self._in(RankState.EXPECTED)

    def started(self, rank: int, pid: int) -> None:
        """The front-end of *rank* came, or another one of it: a task may run several programs."""
        self._states[rank] = RankState.RUNNING
        self._ranks[pid] = rank

    def connected(self, rank: int) -> None:
        self._states[rank] = RankState.CONNECTED

    def finalized(self, rank: int) -> None:
        self._states[rank] = RankState.FINALIZED

    def gone(self, pid: int) -> bool:
        """A process ended; True if it was the last of its rank and owed the other ranks a
        PMIx_Finalize."""
        rank = self._ranks.pop(pid)
        if rank in self._ranks.values():
            return False
        owed = self._states[rank] is RankState.CONNECTED
        self._states[rank] = RankState.GONE
        return owed

    @property
    def present(self) -> bool:
        """Whether any rank is running now."""
        return bool(self._ranks)

    @property
    def all_gone(self) -> bool:
        return all(state is RankState.GONE for state in self._states.values())

    @property
    def settled(self) -> bool:
        """No rank owes or will owe PMIx anything: each has finalized or is gone."""
        return not self._in(RankState.EXPECTED, RankState.RUNNING, RankState.CONNECTED)

    def _in(self, *states: RankState) -> tuple[int, ...]:
        return tuple(rank for rank, state in self._states.items() if state in states)
