"""Published data: who may see what for how long (a store without I/O).

A key is unique within its range: two namespaces may publish the same key for themselves, and two
nodes for their own ranks. The session and "global" are the same here, since the name service
begins and ends with the job.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from pmix_server.errors import PmixError
from pmix_server.status import Status
from pmix_server.values import RANK_WILDCARD, Info, Proc


class Range(IntEnum):
    """pmix_data_range_t: who may see published data or gets an event."""

    RM = 1
    LOCAL = 2
    NAMESPACE = 3
    SESSION = 4
    GLOBAL = 5
    CUSTOM = 6
    PROC_LOCAL = 7


class Persistence(IntEnum):
    """pmix_persistence_t: how long published data stay."""

    INDEFINITE = 0
    FIRST_READ = 1
    PROC = 2
    APP = 3
    SESSION = 4


_WIDTH = {
    Range.PROC_LOCAL: 0,
    Range.CUSTOM: 1,
    Range.LOCAL: 2,
    Range.NAMESPACE: 3,
    Range.SESSION: 4,
    Range.GLOBAL: 4,
    Range.RM: 5,
}


@dataclass(frozen=True)
class Asker:
    """The process that publishes or looks up, and its node's number in the mesh."""

    proc: Proc
    node: int


@dataclass(frozen=True, eq=False)
class Entry:
    """One published value."""

    publisher: Asker
    info: Info
    range: Range = Range.SESSION
    persistence: Persistence = Persistence.APP
    members: tuple[Proc, ...] = ()
    """Who may see it, for Range.CUSTOM."""

    def visible_to(self, asker: Asker) -> bool:
        if self.range is Range.PROC_LOCAL:
            return asker.proc == self.publisher.proc
        if self.range is Range.LOCAL:
            return asker.node == self.publisher.node
        if self.range is Range.NAMESPACE:
            return asker.proc.nspace == self.publisher.proc.nspace
        if self.range is Range.CUSTOM:
            return any(
                asker.proc.nspace == nspace and rank in (RANK_WILDCARD, asker.proc.rank)
                for nspace, rank in self.members
            )
        return self.range is not Range.RM

    def within(self, wanted: Range) -> bool:
        """Whether it is published to this range; a session is as good as global here."""
        return _WIDTH[self.range] == _WIDTH[wanted]

    @property
    def place(self) -> tuple[object, ...]:
        """Within which the key is unique."""
        scope: object = None
        if self.range is Range.PROC_LOCAL:
            scope = self.publisher.proc
        elif self.range is Range.LOCAL:
            scope = self.publisher.node
        elif self.range is Range.NAMESPACE:
            scope = self.publisher.proc.nspace
        elif self.range is Range.CUSTOM:
            scope = frozenset(self.members)
        return (self.info.key, _WIDTH[self.range], scope)


@dataclass
class NameStore:
    """All that is published in the job, by key in the order of its publishing."""

    _entries: dict[str, list[Entry]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def publish(self, entries: Sequence[Entry]) -> None:
        """Take all of *entries*, or none.

        Raises:
            PmixError: PMIX_ERR_DUPLICATE_KEY, a key is published in that range already.
        """
        places = set()
        for entry in entries:
            there = self._entries.get(entry.info.key, ())
            if entry.place in places or any(entry.place == other.place for other in there):
                raise PmixError(
                    f"The key {entry.info.key} is published already in this range.",
                    status=Status.ERR_DUPLICATE_KEY,
                )
            places.add(entry.place)
        for entry in entries:
            self._entries.setdefault(entry.info.key, []).append(entry)

    def find(self, asker: Asker, keys: Iterable[str], wanted: Range | None = None) -> list[Entry]:
        """What *asker* may see of *keys*.

        Args:
            wanted: the range that is taken first where a key is there in several; after it the
                narrowest. It hides nothing: Open MPI 5.0's MPI_Lookup_name passes a range that
                it has not set. Who may see data is up to the publisher.
        """

        def order(entry: Entry) -> tuple[bool, int]:
            return wanted is None or not entry.within(wanted), _WIDTH[entry.range]

        found = []
        for key in keys:
            seen = [entry for entry in self._entries.get(key, ()) if entry.visible_to(asker)]
            if seen:
                found.append(min(seen, key=order))
        return found

    def read(self, entries: Iterable[Entry]) -> None:
        """Note that *entries* were given out: some of them stay only until then."""
        once = {entry for entry in entries if entry.persistence is Persistence.FIRST_READ}
        if once:
            self._remove({entry.info.key for entry in once}, lambda entry: entry in once)

    def unpublish(
        self, publisher: Proc, keys: Sequence[str] | None, wanted: Range | None = None
    ) -> None:
        """Remove what *publisher* itself has published.

        Args:
            keys: None removes all of it.
            wanted: where a key is there in this range, only from it; see `find`.

        Raises:
            PmixError: PMIX_ERR_NOT_FOUND, none of *keys* was there.
        """
        mine = [
            entry
            for key in (self._entries if keys is None else keys)
            for entry in self._entries.get(key, ())
            if entry.publisher.proc == publisher
        ]
        if keys and not mine:
            raise PmixError(
                f"Rank {publisher.rank} has not published {', '.join(keys)}.",
                status=Status.ERR_NOT_FOUND,
            )
        there = {entry for entry in mine if wanted is not None and entry.within(wanted)}
        keys_there = {entry.info.key for entry in there}
        goes = there | {entry for entry in mine if entry.info.key not in keys_there}
        self._remove({entry.info.key for entry in goes}, lambda entry: entry in goes)

    def process_ended(self, proc: Proc) -> None:
        """Remove what was to stay as long as its publisher."""
        self._remove(
            list(self._entries),
            lambda entry: entry.persistence is Persistence.PROC and entry.publisher.proc == proc,
        )

    def job_ended(self, nspace: str) -> None:
        """Remove what was to stay as long as the application."""
        short = (Persistence.PROC, Persistence.APP)
        self._remove(
            list(self._entries),
            lambda entry: entry.persistence in short and entry.publisher.proc.nspace == nspace,
        )

    def _remove(self, keys: Collection[str], goes: Callable[[Entry], bool]) -> None:
        for key in keys:
            left = [entry for entry in self._entries[key] if not goes(entry)]
            if left:
                self._entries[key] = left
            else:
                del self._entries[key]
