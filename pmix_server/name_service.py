"""PMIx_Publish, PMIx_Lookup and PMIx_Unpublish for all ranks of the job.

The data are kept on the mesh's first node, without which there is no job. Messages to it:
    names.publish    [proc, [info], range, persistence, [proc]]     answered by None
    names.lookup     [proc, [key], range or None, wanted, timeout]  answered by [[proc, info]]
    names.unpublish  [proc, [key] or None, range or None]           answered by None
    names.ended      proc                                           not answered
A process is [namespace, rank]; *wanted* is how many keys must be there before the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pmix_server import keys, portable
from pmix_server._pmixcore import Request
from pmix_server.errors import PmixError
from pmix_server.mesh import Mesh
from pmix_server.mesh_messages import Body
from pmix_server.names import Asker, Entry, NameStore, Persistence, Range
from pmix_server.service import Handler
from pmix_server.status import Status
from pmix_server.values import Info, Proc, find

OWNER = 0
"""The node that keeps the data."""

PUBLISH = "names.publish"
LOOKUP = "names.lookup"
UNPUBLISH = "names.unpublish"
ENDED = "names.ended"

DIRECTIVES = {
    keys.RANGE,
    keys.PERSISTENCE,
    keys.TIMEOUT,
    keys.USERID,
    keys.GRPID,
    keys.EVENT_CUSTOM_RANGE,
}
"""Infos of a publish that say how, not what. libpmix adds the user (pmix_server_ops.c)."""


@dataclass(eq=False)
class _Waiting:
    """A lookup that waits until enough of its keys are published."""

    asker: Asker
    keys: list[str]
    range: Range | None
    wanted: int
    found: asyncio.Future[list[Entry]]


class NameService:
    """Answers the ranks of this node; on the first node, keeps the data too."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.store = NameStore()
        self._waiting: dict[str, dict[_Waiting, None]] = {}  # by each of their keys
        self.answers: Mapping[str, Handler] = {
            "publish": self._publish,
            "lookup": self._lookup,
            "unpublish": self._unpublish,
        }
        if mesh.index == OWNER:
            mesh.subscribe(PUBLISH, self._on_publish)
            mesh.subscribe(LOOKUP, self._on_lookup)
            mesh.subscribe(UNPUBLISH, self._on_unpublish)
            mesh.subscribe(ENDED, self._on_ended)

    def process_ended(self, proc: Proc) -> None:
        self._mesh.post((OWNER,), ENDED, proc)

    # On the node of the asking rank.

    async def _publish(self, request: Request, timeout: float | None) -> None:
        body = [
            request.source,
            portable.encode(info for info in request.infos if info[0] not in DIRECTIVES),
            range_of(request.infos),
            persistence_of(request.infos),
            members_of(request.infos),
        ]
        if not body[1]:
            raise PmixError("There is nothing to publish.", status=Status.ERR_BAD_PARAM)
        await self._mesh.request(OWNER, PUBLISH, body, timeout)

    async def _lookup(self, request: Request, timeout: float | None) -> list[tuple[Any, ...]]:
        wanted = wanted_keys(request.infos, len(request.keys))
        body = [request.source, request.keys, asked_range(request.infos), wanted, timeout]
        found = await self._mesh.request(OWNER, LOOKUP, body, timeout)
        # libpmix hands data on with PMIX_SUCCESS only: PMIX_ERR_PARTIAL_SUCCESS would lose them
        # (lookup_cbfunc in pmix_server.c). A key that was not found keeps an undefined value.
        return [(Proc(*proc), *portable.decode([info])[0]) for proc, info in found]

    async def _unpublish(self, request: Request, timeout: float | None) -> None:
        body = [request.source, request.keys or None, asked_range(request.infos)]
        await self._mesh.request(OWNER, UNPUBLISH, body, timeout)

    # On the node that keeps the data.

    def _on_publish(self, node: int, body: Body) -> None:
        proc, infos, within, persistence, members = body
        publisher = Asker(Proc(*proc), node)
        audience = tuple(Proc(*member) for member in members)
        self.store.publish(
            [
                Entry(publisher, Info(*info), Range(within), Persistence(persistence), audience)
                for info in infos
            ]
        )
        for key, *_ in infos:
            for waiting in list(self._waiting.get(key, ())):
                self._try(waiting)

    async def _on_lookup(self, node: int, body: Body) -> Body:
        proc, names, within, wanted, timeout = body
        found = asyncio.get_running_loop().create_future()
        first = None if within is None else Range(within)
        waiting = _Waiting(Asker(Proc(*proc), node), names, first, wanted, found)
        self._try(waiting)
        if not found.done():
            for name in names:
                self._waiting.setdefault(name, {})[waiting] = None
        try:
            async with asyncio.timeout(timeout):
                entries = await found
        except TimeoutError:
            raise PmixError(
                f"Not all of {', '.join(names)} were published within {timeout:g} s.",
                status=Status.ERR_TIMEOUT,
            ) from None
        finally:
            self._forget(waiting)
        if not entries:
            raise PmixError(
                f"None of {', '.join(names)} is published.", status=Status.ERR_NOT_FOUND
            )
        return [[entry.publisher.proc, entry.info] for entry in entries]

    def _try(self, waiting: _Waiting) -> None:
        found = self.store.find(waiting.asker, waiting.keys, waiting.range)
        if len(found) >= waiting.wanted and not waiting.found.done():
            self.store.read(found)
            waiting.found.set_result(found)

    def _forget(self, waiting: _Waiting) -> None:
        for name in waiting.keys:
            others = self._waiting.get(name, {})
            others.pop(waiting, None)
            if not others:
                self._waiting.pop(name, None)

    def _on_unpublish(self, node: int, body: Body) -> None:
        proc, names, within = body
        self.store.unpublish(Proc(*proc), names, None if within is None else Range(within))

    def _on_ended(self, node: int, body: Body) -> None:
        """What the process would not get any more must not take what is read once only."""
        proc = Proc(*body)
        self.store.process_ended(proc)
        for waiting in [waiting for known in self._waiting.values() for waiting in known]:
            if waiting.asker.proc == proc and not waiting.found.done():
                waiting.found.set_result([])


def range_of(infos: Sequence[tuple[str, int, Any]]) -> Range:
    """PMIX_RANGE of a publish; by default the session.

    Raises:
        PmixError: PMIX_ERR_BAD_PARAM, no such range.
    """
    number = find(infos, keys.RANGE)
    try:
        return Range(number or Range.SESSION)
    except ValueError:
        raise PmixError(f"There is no range {number}.", status=Status.ERR_BAD_PARAM) from None


def asked_range(infos: Sequence[tuple[str, int, Any]]) -> Range | None:
    """PMIX_RANGE of a lookup or an unpublish; None where it is absent or no range at all."""
    number = find(infos, keys.RANGE)
    return Range(number) if number in set(Range) else None


def persistence_of(infos: Sequence[tuple[str, int, Any]]) -> Persistence:
    """PMIX_PERSISTENCE; by default data stay as long as the application.

    Raises:
        PmixError: PMIX_ERR_BAD_PARAM, no such persistence.
    """
    number = find(infos, keys.PERSISTENCE)
    try:
        return Persistence.APP if number is None else Persistence(number)
    except ValueError:
        raise PmixError(f"There is no persistence {number}.", status=Status.ERR_BAD_PARAM) from None


def members_of(infos: Sequence[tuple[str, int, Any]]) -> list[Proc]:
    """The processes of a custom range.

    Raises:
        PmixError: PMIX_ERR_BAD_PARAM, a custom range without its processes.
    """
    given = find(infos, keys.EVENT_CUSTOM_RANGE)
    if given is None:
        if range_of(infos) is Range.CUSTOM:
            raise PmixError("A custom range needs its processes.", status=Status.ERR_BAD_PARAM)
        return []
    return [Proc(*proc) for proc in given[1]]


def wanted_keys(infos: Sequence[tuple[str, int, Any]], count: int) -> int:
    """How many of *count* keys a lookup waits for: PMIX_WAIT, where 0 means all. Without it 0."""
    wanted = find(infos, keys.WAIT)
    if wanted is None or wanted is False:
        return 0
    return count if wanted is True or not 0 < int(wanted) <= count else int(wanted)
