"""A fence among nodes: data gathered up a tree, the whole sent down again.

Every participating node calls `Fences.fence` once per fence with the same set of processes; libpmix
calls the host once per node when all local participants have called. A fence is identified by a
digest of that set and by how many fences this set has had, so no node has to allot numbers.

Messages, all lists:
    fence.up    [set, number, data]                        child to parent: my subtree has arrived
    fence.down  [set, number, data]                        parent to child: everybody has arrived
    fence.fail  [set, number, nodes, status, message]      to all tree neighbours, and on from there
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pmix_server.errors import PmixError
from pmix_server.mesh import Mesh
from pmix_server.mesh_messages import Body
from pmix_server.status import Status
from pmix_server.tree import place_in_tree
from pmix_server.values import Proc

UP = "fence.up"
DOWN = "fence.down"
FAIL = "fence.fail"

FANOUT = 4
"""Children per node. One message costs the parent about as much as a level costs in latency, so
k·log_k(n) is what counts; it is flat between 2 and 4, and 4 needs fewer links."""

FAILED_FENCES = 1024
"""Failures remembered for a node that has not called that fence yet."""

FenceId = tuple[bytes, int]


class CollectiveError(PmixError):
    """A collective failed; `status` is the PMIx status for every local participant."""


def digest(procs: Iterable[Proc], purpose: str = "") -> bytes:
    """The same 16 bytes on every node for the same set of (namespace, rank), in any order.

    Collectives of another *purpose* than a fence over the same processes are told apart by it.
    """
    text = purpose + "\n".join(f"{nspace}\0{rank}" for nspace, rank in sorted(set(procs)))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


@dataclass
class _Fence:
    """A fence that was called here and is not complete."""

    identity: FenceId
    nodes: tuple[int, ...]
    parent: int | None
    children: tuple[int, ...]
    own: bytes
    done: asyncio.Future[bytes]
    arrived: dict[int, bytes] = field(default_factory=dict)


class Fences:
    """All fences that this node takes part in.

    Attributes:
        early_limit: fences whose children may have arrived before the local call; a set of
            processes has at most one of them at a time.
    """

    early_limit = 65536

    def __init__(self, mesh: Mesh, fanout: int = FANOUT) -> None:
        self._mesh = mesh
        self._fanout = fanout
        self._active: dict[FenceId, _Fence] = {}
        self._numbers: dict[bytes, int] = {}
        self._early: dict[FenceId, dict[int, bytes]] = {}
        self._failed: OrderedDict[FenceId, tuple[int, str]] = OrderedDict()
        mesh.subscribe(UP, self._on_up)
        mesh.subscribe(DOWN, self._on_down)
        mesh.subscribe(FAIL, self._on_fail)
        mesh.on_lost(self._on_lost)

    async def fence(
        self,
        group: bytes,
        nodes: tuple[int, ...],
        data: bytes,
        *,
        timeout: float | None = None,
        status: int = 0,
    ) -> bytes:
        """Wait for all of *nodes*; give the concatenation of everybody's data in node order.

        Args:
            group: `digest` of the participating processes.
            nodes: the participating nodes in rising order, this one among them.
            timeout: seconds from this call; when it ends, the fence ends on every node.
            status: PMIx status of the local part; if it is not 0, the fence fails everywhere.

        Raises:
            CollectiveError: with PMIX_ERR_TIMEOUT, PMIX_ERR_LOST_CONNECTION or a peer's *status*.
        """
        fence = self._open(group, nodes, data)
        self._check_start(fence, status)
        timer = None
        if timeout and not fence.done.done():
            timer = asyncio.get_running_loop().call_later(timeout, self._expire, fence, timeout)
        try:
            self._advance(fence)
            return await fence.done
        finally:
            self._active.pop(fence.identity, None)
            if timer:
                timer.cancel()

    def forget(self, group: bytes) -> None:
        """Drop what is remembered of a set of processes that will not fence again."""
        self._numbers.pop(group, None)

    def _open(self, group: bytes, nodes: tuple[int, ...], data: bytes) -> _Fence:
        number = self._numbers.get(group, 0)
        self._numbers[group] = number + 1
        place = place_in_tree(nodes.index(self._mesh.index), len(nodes), self._fanout)
        identity = (group, number)
        fence = _Fence(
            identity=identity,
            nodes=nodes,
            parent=None if place.parent is None else nodes[place.parent],
            children=tuple(nodes[child] for child in place.children),
            own=data,
            done=asyncio.get_running_loop().create_future(),
            arrived=self._early.pop(identity, {}),
        )
        self._active[identity] = fence
        return fence

    def _check_start(self, fence: _Fence, status: int) -> None:
        """End a fence at once which is known to be impossible."""
        failed = self._failed.pop(fence.identity, None)
        gone = self._mesh.gone.intersection(fence.nodes)
        if failed:
            self._settle(fence, *failed)
        elif gone:
            names = ", ".join(self._mesh.names[node] for node in sorted(gone))
            self._settle(
                fence, Status.ERR_LOST_CONNECTION, f"A node of the fence is gone: {names}."
            )
        elif status:
            message = f"The local part on {self._mesh.names[self._mesh.index]} failed ({status})."
            self._fail(fence.identity, fence.nodes, status, message, None)

    def _advance(self, fence: _Fence) -> None:
        """Hand on what is complete here: our subtree, and at the root the whole."""
        if fence.done.done() or len(fence.arrived) < len(fence.children):
            return
        data = b"".join((fence.own, *(fence.arrived[child] for child in fence.children)))
        if fence.parent is None:
            self._complete(fence, data)
        else:
            self._mesh.post((fence.parent,), UP, [*fence.identity, data])

    def _complete(self, fence: _Fence, data: bytes) -> None:
        # Children first: the deeper part of the tree is what the fence's latency is made of.
        if fence.children:
            self._mesh.post(fence.children, DOWN, [*fence.identity, data])
        if not fence.done.done():
            fence.done.set_result(data)

    def _expire(self, fence: _Fence, timeout: float) -> None:
        message = (
            f"The fence over {len(fence.nodes)} nodes did not complete within {timeout:g} s "
            f"on {self._mesh.names[self._mesh.index]}."
        )
        self._fail(fence.identity, fence.nodes, Status.ERR_TIMEOUT, message, None)

    def _fail(
        self,
        identity: FenceId,
        nodes: tuple[int, ...],
        status: int,
        message: str,
        source: int | None,
    ) -> None:
        """End a fence here and tell the tree's neighbours, except the one who told us."""
        fence = self._active.get(identity)
        if fence is not None:
            if fence.done.done():
                return
            self._settle(fence, status, message)
        elif identity[1] < self._numbers.get(identity[0], 0) or identity in self._failed:
            return  # over, or already heard from another neighbour
        else:
            self._remember_failure(identity, status, message)
        place = place_in_tree(nodes.index(self._mesh.index), len(nodes), self._fanout)
        neighbours = [*place.children, *([] if place.parent is None else [place.parent])]
        to = [nodes[position] for position in neighbours if nodes[position] != source]
        self._mesh.post(to, FAIL, [*identity, list(nodes), status, message])

    def _settle(self, fence: _Fence, status: int, message: str) -> None:
        if not fence.done.done():
            fence.done.set_exception(CollectiveError(message, status=status))

    def _remember_failure(self, identity: FenceId, status: int, message: str) -> None:
        self._early.pop(identity, None)
        self._failed[identity] = (status, message)
        while len(self._failed) > FAILED_FENCES:
            self._failed.popitem(last=False)

    def _on_up(self, source: int, body: Body) -> None:
        group, number, data = body
        identity = (group, number)
        fence = self._active.get(identity)
        if fence is not None:
            fence.arrived[source] = data
            self._advance(fence)
        elif number >= self._numbers.get(group, 0) and identity not in self._failed:
            self._keep_early(identity, source, data)

    def _keep_early(self, identity: FenceId, source: int, data: bytes) -> None:
        if identity not in self._early and len(self._early) >= self.early_limit:
            message = f"Node {self._mesh.names[self._mesh.index]} holds too many unmatched fences."
            # The participants are not known before the local call, so the sender passes it on.
            self._remember_failure(identity, Status.ERR_OUT_OF_RESOURCE, message)
            both = sorted({source, self._mesh.index})
            body = [*identity, both, Status.ERR_OUT_OF_RESOURCE, message]
            self._mesh.post((source,), FAIL, body)
            return
        self._early.setdefault(identity, {})[source] = data

    def _on_down(self, source: int, body: Body) -> None:
        group, number, data = body
        fence = self._active.get((group, number))
        if fence is not None and source == fence.parent:
            self._complete(fence, data)

    def _on_fail(self, source: int, body: Body) -> None:
        group, number, nodes, status, message = body
        identity = (group, number)
        fence = self._active.get(identity)
        self._fail(identity, fence.nodes if fence else tuple(nodes), status, message, source)

    def _on_lost(self, node: int, reason: str) -> None:
        """Every node hears of a loss, so nobody has to be told of the failure."""
        message = f"The fence lost node {self._mesh.names[node]}: {reason}."
        for fence in list(self._active.values()):
            if node in fence.nodes:
                self._settle(fence, Status.ERR_LOST_CONNECTION, message)
