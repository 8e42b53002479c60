"""PMIx_Notify_event between nodes.

libpmix delivers an event of a local rank to the other local ranks by itself, and keeps it for those
that register late. What is left is to bring it to the other nodes of its range, where it is handed
to libpmix as an event of its source. No event goes to the launcher: Slurm's default handler ends
the step at any event that it gets.

    event    [code, proc, range, [info]]      not answered
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pmix_server import keys, portable
from pmix_server._pmixcore import Request
from pmix_server.collectives import Collectives
from pmix_server.errors import PmixError
from pmix_server.mesh import Mesh
from pmix_server.mesh_messages import Body
from pmix_server.names import Range
from pmix_server.service import Handler
from pmix_server.status import Status
from pmix_server.values import RANK_WILDCARD, Info, Proc, find

EVENT = "event"

Deliver = Callable[[int, Proc, int, Sequence[Info]], Awaitable[None]]
"""Hands (code, source, range, infos) to the ranks of this node: `Server.notify_event`."""

LOCAL_RANGES = (Range.LOCAL, Range.PROC_LOCAL, Range.RM)
"""Ranges without ranks of other nodes. PMIX_RANGE_RM is for the host alone."""


class Events:
    """Brings events of this node's ranks to the others, and those of the others here."""

    def __init__(self, mesh: Mesh, collectives: Collectives, deliver: Deliver) -> None:
        self._mesh = mesh
        self._collectives = collectives
        self._deliver = deliver
        self.answers: Mapping[str, Handler] = {"notify_event": self._notify}
        mesh.subscribe(EVENT, self._on_event)

    def process_ended(self, proc: Proc) -> None:
        """What it has told stays told."""

    async def _notify(self, request: Request, timeout: float | None) -> None:
        body = [request.status, request.source, request.number, portable.encode(request.infos)]
        nodes = self._nodes(Proc(*request.source), request.number, request.infos)
        if nodes is None:
            self._mesh.broadcast(EVENT, body)
        else:
            self._mesh.post([node for node in nodes if node != self._mesh.index], EVENT, body)

    def _nodes(
        self, source: Proc, reach: int, infos: Sequence[tuple[str, int, Any]]
    ) -> Sequence[int] | None:
        """The nodes of a range; None for all.

        Raises:
            PmixError: PMIX_ERR_BAD_PARAM, a custom range without targets; PMIX_ERR_NOT_FOUND, a
                target that does not exist.
        """
        if reach in LOCAL_RANGES:
            return ()
        if reach == Range.CUSTOM:
            targets = find(infos, keys.EVENT_CUSTOM_RANGE)
            if targets is None:
                raise PmixError("A custom range needs its targets.", status=Status.ERR_BAD_PARAM)
            procs = [targets] if isinstance(targets, tuple) and _is_proc(targets) else targets[1]
            return self._collectives.nodes_of(Proc(*proc) for proc in procs)
        if reach == Range.NAMESPACE:
            return self._collectives.nodes_of([Proc(source.nspace, RANK_WILDCARD)])
        return None

    async def _on_event(self, node: int, body: Body) -> None:
        code, source, reach, infos = body
        await self._deliver(code, Proc(*source), reach, portable.decode(infos))


def _is_proc(value: tuple[Any, ...]) -> bool:
    """A single process as the range; an array is (element type, elements)."""
    return isinstance(value[0], str)
