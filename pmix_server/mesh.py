"""The mesh of agents as the PMIx room sees it: nodes by index, messages by kind.

`Mesh` is what collectives, the name service and events are written against. The agent gives them
`shim.overlay` (encrypted TCP) or, for a job of one node, a `LocalMesh`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from pmix_server.mesh_messages import (
    Body,
    Dispatcher,
    Envelope,
    Handler,
    LostCallback,
    MeshError,
    NodeGone,
    RequestFailed,
    RequestTimeout,
)

__all__ = [
    "Body",
    "Dispatcher",
    "Envelope",
    "Handler",
    "LocalMesh",
    "LostCallback",
    "Mesh",
    "MeshError",
    "NodeGone",
    "RequestFailed",
    "RequestTimeout",
]

AGENT_DIED = "its agent ended without leaving"
"""Why a node is lost, in the word to `on_lost`, if its network still answers."""

AGENT_LEFT = "its agent has left the job"
"""Why a node is gone that needs nobody any more."""


class Mesh(Protocol):
    """A numbered set of agents that can send to each other. All calls belong to one event loop.

    Messages from one node to another arrive in the order of their sending. A node that is gone
    stays gone: its index is not given to another.
    """

    @property
    def index(self) -> int:
        """This node."""

    @property
    def size(self) -> int:
        """Number of indices given so far, those of nodes that are gone included."""

    @property
    def names(self) -> Sequence[str]:
        """Node name by index."""

    @property
    def gone(self) -> frozenset[int]:
        """Nodes that left or were lost."""

    def post(self, nodes: Sequence[int], kind: str, body: Body) -> None:
        """Send to each of *nodes* without waiting; the body is encoded once.

        Nothing raises for a node that is gone or cannot be reached: `on_lost` tells.
        """

    async def send(self, node: int, kind: str, body: Body) -> None:
        """Send, once there is a link to the node.

        Raises:
            NodeGone: the node has left, was lost, or cannot be reached.
        """

    async def request(self, node: int, kind: str, body: Body, timeout: float | None) -> Body:
        """Send and wait for the answer, at most *timeout* seconds (None: as long as it takes).

        Raises:
            NodeGone, RequestTimeout, RequestFailed
        """

    def broadcast(self, kind: str, body: Body) -> None:
        """Send to every other node that is not gone, without waiting."""

    def subscribe(self, kind: str, handler: Handler) -> None:
        """Let *handler* have every message of *kind*. One handler per kind."""

    def on_lost(self, callback: LostCallback) -> None:
        """Call *callback* for every node that leaves or is lost from now on."""


class LocalMesh:
    """The mesh of a job of one node: no sockets, no threads; bodies are passed as they are."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._dispatcher = Dispatcher(self._transmit)

    @property
    def index(self) -> int:
        return 0

    @property
    def size(self) -> int:
        return 1

    @property
    def names(self) -> tuple[str, ...]:
        return (self._name,)

    @property
    def gone(self) -> frozenset[int]:
        return frozenset()

    def post(self, nodes: Sequence[int], kind: str, body: Body) -> None:
        for node in nodes:
            self._transmit(node, Envelope(0, kind, 0, body))

    async def send(self, node: int, kind: str, body: Body) -> None:
        self.post((node,), kind, body)

    async def request(self, node: int, kind: str, body: Body, timeout: float | None) -> Body:
        envelope = self._dispatcher.open_request(node, kind, body)
        self._transmit(node, envelope)
        return await self._dispatcher.wait(envelope, timeout)

    def broadcast(self, kind: str, body: Body) -> None:
        """There is no other node."""

    def subscribe(self, kind: str, handler: Handler) -> None:
        self._dispatcher.subscribe(kind, handler)

    def on_lost(self, callback: LostCallback) -> None:
        self._dispatcher.on_lost(callback)

    def _transmit(self, node: int, envelope: Envelope) -> None:
        if node != 0:
            raise IndexError(f"a job of one node has no node {node}")
        # Through the loop, not a direct call: a handler must never run inside its sender.
        asyncio.get_running_loop().call_soon(self._dispatcher.deliver, envelope)
