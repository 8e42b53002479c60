"""A mesh of two nodes over a socket pair, for servers that are processes of one machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from pmix_server.mesh import Body, Dispatcher, Envelope, Handler, LostCallback
from pmix_server.upstream import wire


class PairMesh:
    """One end; `pmix_server.mesh.Mesh` for node 0 or 1 of two."""

    def __init__(self, index: int, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._dispatcher = Dispatcher(self._transmit, index)
        self._writer: asyncio.StreamWriter | None = None
        self._gone: set[int] = set()

    async def open(self, descriptor: int) -> None:
        reader, self._writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
        self._reading = asyncio.create_task(self._read(reader))

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        await self._reading
        await self._dispatcher.close()

    @property
    def index(self) -> int:
        return self._dispatcher.index

    @property
    def size(self) -> int:
        return 2

    @property
    def names(self) -> Sequence[str]:
        return self._names

    @property
    def gone(self) -> frozenset[int]:
        return frozenset(self._gone)

    def post(self, nodes: Sequence[int], kind: str, body: Body) -> None:
        for node in nodes:
            self._transmit(node, Envelope(self.index, kind, 0, body))

    async def send(self, node: int, kind: str, body: Body) -> None:
        self.post((node,), kind, body)

    async def request(self, node: int, kind: str, body: Body, timeout: float | None) -> Body:
        envelope = self._dispatcher.open_request(node, kind, body)
        self._transmit(node, envelope)
        return await self._dispatcher.wait(envelope, timeout)

    def broadcast(self, kind: str, body: Body) -> None:
        self.post((1 - self.index,), kind, body)

    def subscribe(self, kind: str, handler: Handler) -> None:
        self._dispatcher.subscribe(kind, handler)

    def on_lost(self, callback: LostCallback) -> None:
        self._dispatcher.on_lost(callback)

    def _transmit(self, node: int, envelope: Envelope) -> None:
        if node == self.index:
            asyncio.get_running_loop().call_soon(self._dispatcher.deliver, envelope)
        elif self._writer is not None and node not in self._gone:
            self._writer.write(wire.encode(list(envelope)))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while (message := await wire.read(reader)) is not None:
            self._dispatcher.deliver(Envelope(*message))
        self._gone.add(1 - self.index)
        self._dispatcher.lose(1 - self.index, "its end of the socket pair was closed")
