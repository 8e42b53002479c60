"""One agent's links towards the others: opened when there is something to send, kept after."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shim.overlay.members import Member, Members

if TYPE_CHECKING:  # a job of one node never loads zmq
    from shim.overlay.transport import Transport

LINGER_MS = 200


@dataclass
class _Link:
    """Towards one node. What is to be sent waits here until the link is open."""

    number: int | None = None
    address: str = ""
    waiting: deque[bytes] = field(default_factory=deque)
    opening: asyncio.Task[None] | None = None


class Links:
    """All links of one agent.

    Args:
        members: says where each node listens.
        failed: called with (node, reason) when a link broke or could not be opened.
    """

    def __init__(self, members: Members, failed: Callable[[int, str], None]) -> None:
        self._members = members
        self._failed = failed
        self._transport: Transport | None = None
        self._links: dict[int, _Link] = {}
        self._node_of: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def transport(self) -> Transport | None:
        """None while this agent talks to nobody."""
        return self._transport

    @property
    def linked(self) -> frozenset[int]:
        """Nodes to which a link is open."""
        return frozenset(self._node_of.values())

    def attach(self, transport: Transport) -> None:
        """Use *transport* from now on."""
        self._transport = transport

    def adopt(self, node: int, number: int, address: str) -> None:
        """Use an open link of the transport for *node*."""
        self._links[node] = _Link(number, address)
        self._node_of[number] = node

    def send(self, node: int, frame: bytes) -> None:
        """Send, or open the link first; to a node that is gone only what an open link takes."""
        link = self._links.get(node)
        if link is not None and link.number is not None:
            if self._transport is not None:
                self._transport.send(link.number, frame)
        elif node not in self._members.gone:
            link = link or self._links.setdefault(node, _Link())
            link.waiting.append(frame)
            self._start_opening(node, link)

    def found(self, node: int) -> None:
        """The table says now where *node* is: open the link if something waits for it."""
        link = self._links.get(node)
        if link is not None and link.waiting:
            self._start_opening(node, link)

    async def opened(self, node: int) -> None:
        """Open the link to *node* if need be, and wait until that has succeeded or failed."""
        link = self._links.setdefault(node, _Link())
        if link.number is None:
            self._start_opening(node, link)
        if link.opening is not None:
            await asyncio.shield(link.opening)

    def forget(self, node: int) -> None:
        """*node* is gone: drop what waits for it."""
        link = self._links.get(node)
        if link is not None:
            link.waiting.clear()

    def broke(self, number: int) -> None:
        """The transport has found a link broken; find out why and tell."""
        node = self._node_of.pop(number, None)
        if node is not None:
            link = self._links.pop(node)
            if node not in self._members.gone:
                self.run(self._explain(node, link.address))

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do *work* beside everything else, until `close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """End everything that is being opened or found out."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Close all links."""
        if self._transport is not None:
            self._transport.close(LINGER_MS)
            self._transport = None

    def _start_opening(self, node: int, link: _Link) -> None:
        """Open the link, if the table says where; else `found` does."""
        member = self._members.joined.get(node)
        if member is not None and link.opening is None:
            link.opening = self.run(self._open(member, link))

    async def _open(self, member: Member, link: _Link) -> None:
        from shim.overlay.reach import connect_any
        from shim.overlay.transport import LinkFailed

        if self._transport is None:
            return
        try:
            link.number, link.address = await connect_any(self._transport, member.endpoint)
        except LinkFailed as error:
            del self._links[member.index]
            self._failed(member.index, f"its agent cannot be reached ({error})")
            return
        finally:
            link.opening = None
        self._node_of[link.number] = member.index
        while link.waiting:
            self._transport.send(link.number, link.waiting.popleft())

    async def _explain(self, node: int, address: str) -> None:
        from shim.overlay.reach import examine

        self._failed(node, (await examine(address)).text)
