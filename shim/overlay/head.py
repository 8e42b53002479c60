"""The head's side of the start: let agents in, tell all when all are there."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pmix_server.mesh_messages import Body
from shim.errors import ShimError
from shim.overlay.addresses import listening_addresses
from shim.overlay.endpoint import Endpoint, HeadEndpoint
from shim.overlay.members import Member, list_names
from shim.overlay.overlay import Overlay
from shim.overlay.wire import PROTOCOL

if TYPE_CHECKING:  # a job of one node never loads zmq
    from shim.overlay.transport import Transport

HELLO = "mesh.hello"
WELCOME = "mesh.welcome"
TABLE = "mesh.table"
WAITING = "mesh.waiting"
REFUSED = "mesh.refused"

PROGRESS_SECONDS = 1.0

DESCRIPTORS_PER_NODE = 2
OTHER_DESCRIPTORS = 128
"""A TCP connection each way per node; beside them listeners, libzmq's own, PMIx and the ranks."""

Progress = Callable[[str], None]


class Head(Overlay):
    """Node 0. `endpoint` is what the others need; `wait_complete` ends when all are in."""

    def __init__(self, names: Sequence[str], nspace: str, job: str, progress: Progress) -> None:
        super().__init__(0, names, nspace, job)
        self._progress = progress
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head_endpoint: HeadEndpoint | None = None
        self.subscribe(HELLO, self._on_hello)
        self.on_lost(self._on_lost_while_joining)
        self._announce_if_complete()

    async def listen(self, addresses: Sequence[str] = ()) -> bytes:
        """Open the mesh to others and give the blob that lets them in.

        Args:
            addresses: where to listen, instead of all addresses that others can reach.

        Raises:
            ShimError: no address could be bound, or this process may open too few files.
        """
        if self._head_endpoint is None:
            check_descriptors(self.size)
            self._head_endpoint = await self._open_transport(addresses)
        return self._head_endpoint.pack()

    async def wait_complete(self, timeout: float) -> None:
        """Wait until every node of the start has joined, reporting every second who is missing.

        Raises:
            ShimError: *timeout* seconds have passed, or an agent that had joined was lost; the
                agents that did join have been told the same, and the mesh is closed.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while not self._complete.done():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                self._give_up(self._timeout_text(timeout))
                break
            await asyncio.wait([self._complete], timeout=min(left, PROGRESS_SECONDS))
            if not self._complete.done():
                self._tell_waiting()
        try:
            await self._complete
        except ShimError:
            await self.close()  # not before the others have heard why
            raise

    async def _open_transport(self, addresses: Sequence[str]) -> HeadEndpoint:
        from shim.overlay.sockets import CurvePair
        from shim.overlay.transport import Transport

        client = CurvePair.make()
        transport = Transport(client, self.receive, self.links.broke)
        own_name, *others = self.names
        bound = await bind(transport, addresses, own_name, others)
        self.links.attach(transport)
        endpoint = Endpoint(bound, transport.server_key)
        self.members.add([Member(0, own_name, endpoint, os.getpid(), os.getuid())])
        return HeadEndpoint(
            addresses=bound,
            server_key=transport.server_key,
            client_public=client.public,
            client_secret=client.secret,
            nspace=self.nspace,
            job=self.job,
            head_name=own_name,
        )

    def _on_hello(self, _: int, body: Body) -> None:
        version, index, *rest = body
        # A node that grows into the job has no index yet; it gets the next.
        number = self.size if index is None else index
        refusal = self.members.refusal(index)
        if version != PROTOCOL:
            refusal = f"it speaks version {version} of the overlay protocol, not {PROTOCOL}"
        member = Member.from_body([number, *rest])
        if refusal:
            self.links.run(self._refuse(member, refusal))
            return
        self.members.add([member])
        self.post((number,), WELCOME, number)
        if self._complete.done():
            self._announce_late(member)
        else:
            self._announce_if_complete()

    def _announce_if_complete(self) -> None:
        if self.members.missing or self._complete.done():
            return
        self.members.generation = 1
        everybody = [member.to_body() for member in self.members.joined.values()]
        self.post(self.others(), TABLE, [1, everybody])
        self._complete.set_result(None)

    def _announce_late(self, member: Member) -> None:
        generation = self.members.generation + 1
        others = [node for node in self.others() if node != member.index]
        everybody = [
            known.to_body()
            for index, known in self.members.joined.items()
            if index not in self.members.gone
        ]
        self.post(others, TABLE, [generation, [member.to_body()]])
        self.post((member.index,), TABLE, [generation, everybody])
        self.members.generation = generation
        for callback in self._joined_callbacks:
            callback(member.index, member.name)

    async def _refuse(self, member: Member, reason: str) -> None:
        """Tell an agent that is not let in, over a link of its own."""
        from shim.overlay.reach import connect_any
        from shim.overlay.transport import LinkFailed

        transport = self.links.transport
        if transport is None:
            return
        try:
            link, _ = await connect_any(transport, member.endpoint)
        except LinkFailed:
            return  # it will give up by itself
        transport.send(link, self.frame(REFUSED, reason))
        await asyncio.sleep(PROGRESS_SECONDS)  # a dropped link loses what is queued
        transport.drop(link)

    def _tell_waiting(self) -> None:
        text = self._waiting_text()
        self._progress(text)
        self.post(self.others(), WAITING, text)

    def _waiting_text(self) -> str:
        missing = self.members.missing
        return f"waiting for {len(missing)} of {self.size} nodes: {list_names(missing)}"

    def _timeout_text(self, timeout: float) -> str:
        missing = self.members.missing
        return (
            f"The agents of {len(missing)} of {self.size} nodes did not join within "
            f"{timeout:g} s: {list_names(missing)}."
        )

    def _on_lost_while_joining(self, node: int, reason: str) -> None:
        if not self._complete.done():
            self._give_up(f"Node {self.names[node]} was lost while the others joined: {reason}.")

    def _give_up(self, message: str) -> None:
        self.post(self.others(), REFUSED, message)
        hint = (
            "Look at the step's output of these nodes, and check that compute nodes may open TCP "
            "connections to each other. Where only some tasks call `shim exec`, add --no-pmix."
        )
        self._complete.set_exception(ShimError(message, hint, transient=True))


def check_descriptors(nodes: int) -> None:
    """Refuse to be the head of more nodes than this process has descriptors for.

    The limit is not raised here: ranks that the agent starts would inherit it.

    Raises:
        ShimError
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = DESCRIPTORS_PER_NODE * nodes + OTHER_DESCRIPTORS
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        raise ShimError(
            f"The head agent of {nodes} nodes needs {needed} open files, this step may open "
            f"{allowed}.",
            f"Run `ulimit -n {needed}` in the job script before srun.",
        )


async def bind(
    transport: Transport, addresses: Sequence[str], own_name: str, others: Sequence[str]
) -> tuple[str, ...]:
    """Let *transport* listen where the *others* can reach it.

    Raises:
        ShimError: no address could be bound.
    """
    # The resolver may wait for a DNS server, which must not stop the loop.
    chosen = addresses or await asyncio.to_thread(listening_addresses, own_name, list(others))
    try:
        return transport.listen(chosen)
    except OSError as error:
        transport.close()
        raise ShimError(
            f"The agent on {own_name} cannot listen for the other nodes: {error.strerror}.",
            "Check the node's network, and that its name resolves to one of its addresses.",
        ) from error
