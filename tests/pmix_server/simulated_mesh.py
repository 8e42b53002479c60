"""Many meshes in one process with an adversary for a network: it picks what arrives next.

Messages between two nodes keep their order, as the overlay promises; everything else is the
adversary's choice, also when a node hears that another is lost.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence

from pmix_server.mesh import Body, Dispatcher, Envelope, Handler, LostCallback, NodeGone


class SimulatedMesh:
    """One node of a `Network`."""

    def __init__(self, network: Network, index: int) -> None:
        self._network = network
        self._lost: set[int] = set()
        self.dispatcher = Dispatcher(self._transmit, index)

    @property
    def index(self) -> int:
        return self.dispatcher.index

    @property
    def size(self) -> int:
        return len(self._network.meshes)

    @property
    def names(self) -> Sequence[str]:
        return self._network.names

    @property
    def gone(self) -> frozenset[int]:
        return frozenset(self._lost)

    def post(self, nodes: Sequence[int], kind: str, body: Body) -> None:
        for node in nodes:
            self._transmit(node, Envelope(self.index, kind, 0, body))

    async def send(self, node: int, kind: str, body: Body) -> None:
        self.post((node,), kind, body)

    async def request(self, node: int, kind: str, body: Body, timeout: float | None) -> Body:
        if node in self._lost:
            raise NodeGone(f"node {node} is gone")
        envelope = self.dispatcher.open_request(node, kind, body)
        self._transmit(node, envelope)
        return await self.dispatcher.wait(envelope, timeout)

    def broadcast(self, kind: str, body: Body) -> None:
        self.post([node for node in range(self.size) if node != self.index], kind, body)

    def subscribe(self, kind: str, handler: Handler) -> None:
        self.dispatcher.subscribe(kind, handler)

    def on_lost(self, callback: LostCallback) -> None:
        self.dispatcher.on_lost(callback)

    def hear_of_loss(self, node: int) -> None:
        self._lost.add(node)
        self.dispatcher.lose(node, "it was switched off")

    def _transmit(self, node: int, envelope: Envelope) -> None:
        self._network.put(self.index, node, envelope)


class Network:
    """All nodes, and the messages on their way."""

    def __init__(self, nodes: int, random_source: random.Random) -> None:
        self.names = [f"n{index}" for index in range(nodes)]
        self._random = random_source
        self._channels: dict[tuple[int, int], deque[Envelope | None]] = {}
        self._dead: set[int] = set()
        self.delivered = 0
        self.meshes = [SimulatedMesh(self, index) for index in range(nodes)]

    def put(self, source: int, node: int, item: Envelope | None) -> None:
        if source not in self._dead and node not in self._dead:
            self._channels.setdefault((source, node), deque()).append(item)

    def switch_off(self, node: int) -> None:
        """*node* sends and hears nothing more; what it has sent may still arrive or not."""
        for (source, target), channel in list(self._channels.items()):
            if target == node:
                del self._channels[source, target]
            elif source == node and self._random.random() < 0.5:
                channel.clear()
        for other in range(len(self.meshes)):
            if other != node:
                self.put(node, other, None)
        self._dead.add(node)

    def step(self) -> bool:
        """Deliver one message of the adversary's choice; False if none is on its way."""
        waiting = [pair for pair, channel in self._channels.items() if channel]
        if not waiting:
            return False
        source, target = self._random.choice(waiting)
        item = self._channels[source, target].popleft()
        if item is None:
            self.meshes[target].hear_of_loss(source)
        else:
            self.meshes[target].dispatcher.deliver(item)
        self.delivered += 1
        return True

    async def run(self, work: Sequence[asyncio.Task[object]]) -> None:
        """Deliver until all of *work* is done.

        Raises:
            AssertionError: no message is on its way and some of *work* still waits: a hang.
        """
        idle = 0
        while not all(task.done() for task in work):
            for _ in range(self._random.randint(0, 3)):
                await asyncio.sleep(0)
            idle = 0 if self.step() else idle + 1
            # What is left to happen without a message is a timer: those of the tests are short.
            await asyncio.sleep(0 if idle < 20 else 0.001)
            assert idle < 200, "everybody waits and nothing is on its way"

    async def drain(self) -> None:
        """Deliver until no message is on its way."""
        delivered = True
        while delivered:
            delivered = self.step()
            await asyncio.sleep(0)
