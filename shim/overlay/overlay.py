"""The mesh between the agents of a job: links on demand, losses found and told to everybody.

Node 0, the head, has links from and to every node; others link to each other when they have
something to say. The head's word on who is gone is the job's: who finds a link broken tells the
head, the head tells all. A node that loses the head has lost the job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from pmix_server.mesh import AGENT_LEFT, Handler, LostCallback
from pmix_server.mesh_messages import Body, Dispatcher, Envelope, NodeGone
from shim.overlay.links import Links
from shim.overlay.members import Member, Members
from shim.overlay.wire import decode, encode

log = logging.getLogger(__name__)

BYE = "mesh.bye"
GONE = "mesh.gone"
RELAY = "mesh.relay"

UNNUMBERED = -1
"""Index of an agent that the head has not let in yet; nobody answers it under this number."""

GOODBYE_SECONDS = 1.0
"""How long a leaving agent waits until its peers have heard that it leaves."""

LEFT_TOGETHER_SECONDS = 0.05
"""Nodes leave in a crowd when a job ends; the head tells the others of many at once."""

JoinedCallback = Callable[[int, str], None]


class Overlay:
    """One agent's place in the mesh; implements `pmix_server.mesh.Mesh`.

    Made by `open_head` and `join`. `close` must be awaited.

    Attributes:
        nspace: the inner PMIx namespace of the job.
        job: the launcher's name of the step.
    """

    def __init__(self, index: int, names: Sequence[str], nspace: str, job: str) -> None:
        self.nspace = nspace
        self.job = job
        self.members = Members(list(names))
        self.links = Links(self.members, self._find_lost)
        self._dispatcher = Dispatcher(self._transmit, index)
        self._heard: set[int] = set()
        self._left: list[tuple[int, str]] = []
        self._joined_callbacks: list[JoinedCallback] = []
        self._closing = False
        self.subscribe(BYE, self._on_bye)
        self.subscribe(GONE, self._on_gone)
        self.subscribe(RELAY, self._on_relay)

    @property
    def index(self) -> int:
        return self._dispatcher.index

    @property
    def size(self) -> int:
        return len(self.members.names)

    @property
    def names(self) -> Sequence[str]:
        return self.members.names

    @property
    def gone(self) -> frozenset[int]:
        return frozenset(self.members.gone)

    @property
    def generation(self) -> int:
        """Rises with every announced change of the member table."""
        return self.members.generation

    def post(self, nodes: Sequence[int], kind: str, body: Body) -> None:
        self._post_as(self.index, nodes, kind, body)

    async def send(self, node: int, kind: str, body: Body) -> None:
        self._check(node)
        self._transmit(node, Envelope(self.index, kind, 0, body))
        if node != self.index:
            await self.links.opened(node)
        self._check(node)

    async def request(self, node: int, kind: str, body: Body, timeout: float | None) -> Body:
        self._check(node)
        envelope = self._dispatcher.open_request(node, kind, body)
        try:
            self._transmit(node, envelope)
        except BaseException:
            self._dispatcher.abandon(envelope)
            raise
        return await self._dispatcher.wait(envelope, timeout)

    def broadcast(self, kind: str, body: Body) -> None:
        if self.index == 0:
            self._post_as(0, self.others(), kind, body)
        else:
            self.post((0,), RELAY, [kind, body])

    def subscribe(self, kind: str, handler: Handler) -> None:
        self._dispatcher.subscribe(kind, handler)

    def on_lost(self, callback: LostCallback) -> None:
        self._dispatcher.on_lost(callback)

    def on_joined(self, callback: JoinedCallback) -> None:
        """Call *callback* with (node, name) for every node that joins after the start."""
        self._joined_callbacks.append(callback)

    async def close(self) -> None:
        """Leave: tell every agent that has a link to us, then close everything."""
        if self._closing:
            return
        self._closing = True
        listeners = (self.links.linked | self._heard) - {self.index, *self.members.gone}
        if self.index == UNNUMBERED:
            listeners = frozenset()  # nobody counts on us
        goodbyes = (self.request(node, BYE, None, GOODBYE_SECONDS) for node in listeners)
        await asyncio.gather(*goodbyes, return_exceptions=True)
        await self.links.stop()
        await self._dispatcher.close()
        self.links.close()

    # What head.py and member.py build on.

    def take_index(self, index: int) -> None:
        """Become node *index*, when the head has allotted it."""
        self._dispatcher.index = index

    def take_members(self, generation: int, members: Sequence[Member]) -> None:
        """Merge an announced part of the table."""
        at_start = self.members.generation == 0
        new = self.members.add(members)
        self.members.generation = generation
        for member in new:
            self.links.found(member.index)
            if not at_start and member.index != self.index:
                for callback in self._joined_callbacks:
                    callback(member.index, member.name)

    def receive(self, frame: bytes) -> None:
        """A message has come from a peer."""
        try:
            envelope = decode(frame)
        except ValueError as error:
            log.error("ignored a message: %s", error)
            return
        if envelope.source in self.members.gone and envelope.kind != BYE:
            return  # given up job-wide; taking more from it would give nodes different views
        if envelope.source != UNNUMBERED:
            self._heard.add(envelope.source)
        self._dispatcher.deliver(envelope)

    def frame(self, kind: str, body: Body) -> bytes:
        """A message of this node's, encoded."""
        return encode(Envelope(self.index, kind, 0, body))

    def others(self) -> list[int]:
        """All nodes but this that have joined and are not gone."""
        return [
            node
            for node in self.members.joined
            if node != self.index and node not in self.members.gone
        ]

    def _find_lost(self, node: int, reason: str) -> None:
        """A link of ours says that *node* is lost."""
        if self.index and node:
            self.post((0,), GONE, [[node, f"{reason}, says {self.names[self.index]}"]])
        self._lose(node, reason)

    def _lose(self, node: int, reason: str) -> None:
        """*node* is lost, by our own finding or by the head's word."""
        if node in self.members.gone or node == self.index or self._closing:
            return
        self.members.gone[node] = reason
        self.links.forget(node)
        if self.index == 0:
            self._announce_gone([(node, reason)])
            # If it lives, it must know that the job goes on without it.
            farewell = self.frame(GONE, [[0, f"the head has given this node up: {reason}"]])
            self.links.send(node, farewell)
        self._dispatcher.lose(node, reason)

    def _check(self, node: int) -> None:
        if not 0 <= node < self.size:
            raise IndexError(f"the mesh has no node {node}")
        if node in self.members.gone:
            raise NodeGone(f"Node {self.names[node]} is gone: {self.members.gone[node]}.")

    def _post_as(self, source: int, nodes: Sequence[int], kind: str, body: Body) -> None:
        envelope = Envelope(source, kind, 0, body)
        frame: bytes | None = None
        for node in nodes:
            if node == self.index:
                asyncio.get_running_loop().call_soon(self._dispatcher.deliver, envelope)
            else:
                frame = frame or encode(envelope)
                self.links.send(node, frame)

    def _transmit(self, node: int, envelope: Envelope) -> None:
        if node == self.index:
            # Through the loop, not a direct call: a handler must never run inside its sender.
            asyncio.get_running_loop().call_soon(self._dispatcher.deliver, envelope)
        else:
            self.links.send(node, encode(envelope))

    async def _on_bye(self, source: int, _: Body) -> bool:
        await self.links.opened(source)  # an open link carries the answer to a node that is gone
        self._take_leave(source)
        return True

    def _take_leave(self, node: int) -> None:
        if node in self.members.gone or self._closing:
            return
        reason = AGENT_LEFT
        self.members.gone[node] = reason
        if self.index == 0:
            if not self._left:
                asyncio.get_running_loop().call_later(LEFT_TOGETHER_SECONDS, self._tell_left)
            self._left.append((node, reason))
        self._dispatcher.lose(node, reason)

    def _tell_left(self) -> None:
        left, self._left = self._left, []
        if not self._closing:
            self._announce_gone(left)

    def _announce_gone(self, nodes: Sequence[tuple[int, str]]) -> None:
        self.post(self.others(), GONE, [list(entry) for entry in nodes])

    def _on_gone(self, _: int, body: Body) -> None:
        for node, reason in body:
            self._lose(node, reason)

    def _on_relay(self, source: int, body: Body) -> None:
        kind, inner = body
        self._post_as(source, [node for node in self.others() if node != source], kind, inner)
        self._dispatcher.deliver(Envelope(source, kind, 0, inner))
