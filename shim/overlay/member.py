"""The other nodes' side of the start: reach the head, introduce oneself, wait for the table."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from pmix_server.mesh_messages import Body
from shim.errors import ShimError
from shim.overlay.endpoint import Endpoint, HeadEndpoint
from shim.overlay.head import HELLO, REFUSED, TABLE, WAITING, WELCOME, Progress, bind
from shim.overlay.members import Member
from shim.overlay.overlay import UNNUMBERED, Overlay
from shim.overlay.reach import connect_any
from shim.overlay.sockets import CurvePair
from shim.overlay.transport import LinkFailed, Transport
from shim.overlay.wire import PROTOCOL


class JoiningMember(Overlay):
    """An agent that is not the head. It has its index when the head has welcomed it."""

    def __init__(self, head: HeadEndpoint, names: Sequence[str], progress: Progress) -> None:
        super().__init__(UNNUMBERED, names, head.nspace, head.job)
        self._progress = progress
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.subscribe(WELCOME, self._on_welcome)
        self.subscribe(TABLE, self._on_table)
        self.subscribe(WAITING, lambda _, text: self._progress(str(text)))
        self.subscribe(REFUSED, self._on_refused)
        self.on_lost(self._on_head_lost)

    async def introduce(self, head: HeadEndpoint, member: Member, timeout: float) -> None:
        """Say hello to the head and wait until it says that all nodes are there.

        Args:
            member: this agent, UNNUMBERED if it takes whatever index the head gives.

        Raises:
            ShimError: refused, the head was lost, or *timeout* seconds have passed.
        """
        index = None if member.index == UNNUMBERED else member.index
        self.post((0,), HELLO, [PROTOCOL, index, *member.to_body()[1:]])
        try:
            async with asyncio.timeout(timeout):
                await self._ready
        except TimeoutError:
            raise ShimError(
                f"The head agent on {head.head_name} did not complete the mesh of nodes within "
                f"{timeout:g} s.",
                "Look at the step's output of the other nodes.",
                transient=True,
            ) from None

    def _on_welcome(self, _: int, index: Body) -> None:
        self.take_index(index)

    def _on_table(self, _: int, body: Body) -> None:
        generation, entries = body
        self.take_members(generation, [Member.from_body(entry) for entry in entries])
        if not self._ready.done():
            self._ready.set_result(None)

    def _on_refused(self, _: int, reason: Body) -> None:
        self._fail(f"The head agent did not let this node in: {reason}".rstrip(".") + ".")

    def _on_head_lost(self, node: int, reason: str) -> None:
        if node == 0:
            self._fail(f"The head agent was lost while the nodes joined: {reason}.")

    def _fail(self, message: str) -> None:
        if not self._ready.done():
            hint = "Look at the step's output of the other nodes."
            self._ready.set_exception(ShimError(message, hint))


async def join_mesh(
    head: HeadEndpoint,
    index: int | None,
    names: Sequence[str],
    timeout: float,
    progress: Progress,
    addresses: Sequence[str],
) -> Overlay:
    """What `shim.overlay.join` does once the endpoint is unpacked."""
    overlay = JoiningMember(head, names, progress)
    client = CurvePair(head.client_public, head.client_secret)
    transport = Transport(client, overlay.receive, overlay.links.broke)
    own_name = names[index] if index is not None else os.uname().nodename
    others = [head.head_name, *names]
    bound = await bind(transport, addresses, own_name, others)
    overlay.links.attach(transport)
    try:
        await _reach_head(overlay, transport, head)
        endpoint = Endpoint(bound, transport.server_key)
        wanted = UNNUMBERED if index is None else index
        member = Member(wanted, own_name, endpoint, os.getpid(), os.getuid())
        await overlay.introduce(head, member, timeout)
    except BaseException:
        await overlay.close()
        raise
    return overlay


async def _reach_head(overlay: Overlay, transport: Transport, head: HeadEndpoint) -> None:
    try:
        link, address = await connect_any(transport, head.endpoint)
    except LinkFailed as error:
        raise ShimError(
            f"This node cannot reach the head agent on {head.head_name} ({error}).",
            "Check that compute nodes may open TCP connections to each other on all ports.",
        ) from error
    overlay.links.adopt(0, link, address)
