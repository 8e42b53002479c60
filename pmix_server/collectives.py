"""Fence and direct modex between the nodes of a job: the host's half of two PMIx upcalls.

Processes are mapped to the nodes that host them by the job data which was registered; what then
travels goes over a `Mesh`. An error carries the PMIx status that the waiting clients get.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pmix_server.fence import FANOUT, CollectiveError, Fences, digest
from pmix_server.job import JobSpec
from pmix_server.mesh import Mesh
from pmix_server.mesh_messages import Body
from pmix_server.status import Status
from pmix_server.values import RANK_WILDCARD, Proc

MODEX = "modex"

LocalModex = Callable[[Proc], Awaitable[bytes]]
"""Gives the modex blob of a process of this node, once the process has committed."""


@dataclass
class _Namespace:
    """Where the ranks of one namespace live."""

    node_of: list[int | None]
    nodes: tuple[int, ...]
    groups: set[bytes] = field(default_factory=set)


class Collectives:
    """Fences and direct modex for the agent of one node.

    Args:
        mesh: the agents.
        local_modex: `Server.local_modex` of this node.
        fanout: children per node in the tree of a fence.
    """

    def __init__(self, mesh: Mesh, local_modex: LocalModex, *, fanout: int = FANOUT) -> None:
        self._mesh = mesh
        self._local_modex = local_modex
        self._fences = Fences(mesh, fanout)
        self._namespaces: dict[str, _Namespace] = {}
        mesh.subscribe(MODEX, self._on_modex)

    def register(self, job: JobSpec, mesh_nodes: Sequence[int] | None = None) -> None:
        """Learn where the ranks of *job* live.

        Args:
            job: nodes in order, each with its ranks.
            mesh_nodes: mesh index of each of `job.nodes`; by default the first is 0 and so on,
                as it is for the job whose agents made the mesh.
        """
        where = tuple(mesh_nodes) if mesh_nodes is not None else tuple(range(len(job.nodes)))
        highest = max((rank for node in job.nodes for rank in node.ranks), default=-1)
        node_of: list[int | None] = [None] * (highest + 1)
        for index, node in zip(where, job.nodes, strict=True):
            for rank in node.ranks:
                node_of[rank] = index
        hosting = tuple(sorted({index for index in node_of if index is not None}))
        self._namespaces[job.nspace] = _Namespace(node_of, hosting)

    def deregister(self, nspace: str) -> None:
        """Forget a namespace whose processes have ended."""
        known = self._namespaces.pop(nspace, None)
        for group in known.groups if known else ():
            self._fences.forget(group)

    def nodes_of(self, procs: Iterable[Proc]) -> tuple[int, ...]:
        """The mesh nodes that host *procs*, rising.

        Raises:
            CollectiveError: PMIX_ERR_NOT_FOUND for a namespace or rank that is not registered.
        """
        nodes: set[int] = set()
        for nspace, rank in procs:
            if rank == RANK_WILDCARD:
                nodes.update(self._namespace(nspace).nodes)
            else:
                nodes.add(self._node_of(nspace, rank))
        return tuple(sorted(nodes))

    async def fence(
        self,
        procs: Sequence[Proc],
        data: bytes,
        collect: bool,
        timeout: float | None = None,
        *,
        status: int = 0,
    ) -> bytes:
        """Wait until every node of *procs* has called this; give all their data.

        Args:
            procs: the participants, (namespace, rank) with RANK_WILDCARD for a whole namespace.
            data: this node's contribution, as libpmix gave it.
            collect: PMIX_COLLECT_DATA; if false the fence only synchronises.
            timeout: PMIX_TIMEOUT in seconds; None or 0 waits for ever.
            status: PMIX_LOCAL_COLLECTIVE_STATUS; if it is not 0, every node gets it.

        Returns:
            The blobs of all participating nodes in node order, the own one among them; libpmix
            needs it too, since it stores only what comes back. b"" if *collect* is false: with
            no data at all libpmix skips its store (`_mdxcbfunc` in pmix_server.c).

        Raises:
            CollectiveError: with the PMIx status for the clients.
        """
        own = data if collect else b""
        return await self.gather("", procs, own, timeout, status=status)

    async def gather(
        self,
        purpose: str,
        procs: Sequence[Proc],
        data: bytes,
        timeout: float | None = None,
        *,
        status: int = 0,
    ) -> bytes:
        """A fence of another purpose, apart from plain ones over the same processes.

        Raises:
            CollectiveError: with the PMIx status for the clients.
        """
        nodes = self.nodes_of(procs)
        if self._mesh.index not in nodes:
            raise CollectiveError(
                "A collective was called on a node that hosts none of its processes.",
                status=Status.ERR_BAD_PARAM,
            )
        group = digest(procs, purpose)
        for nspace, _ in procs:
            self._namespaces[nspace].groups.add(group)
        return await self._fences.fence(group, nodes, data, timeout=timeout, status=status)

    async def direct_modex(self, proc: Proc, timeout: float | None = None) -> bytes:
        """The modex blob of *proc* from the node that hosts it, once it has committed.

        Raises:
            PmixError: PMIX_ERR_TIMEOUT, PMIX_ERR_LOST_CONNECTION, PMIX_ERR_NOT_FOUND or what the
                hosting server answered, as `status`.
        """
        node = self._node_of(*proc)
        if node == self._mesh.index:
            return await self._answer_modex(proc, timeout)
        # The hosting node keeps the time too, so that nothing goes on waiting there.
        body = [proc[0], proc[1], timeout]
        return bytes(await self._mesh.request(node, MODEX, body, timeout or None))

    async def _on_modex(self, source: int, body: Body) -> bytes:
        nspace, rank, timeout = body
        return await self._answer_modex(Proc(nspace, rank), timeout)

    async def _answer_modex(self, proc: Proc, timeout: float | None) -> bytes:
        try:
            async with asyncio.timeout(timeout or None):
                return await self._local_modex(proc)
        except TimeoutError:
            raise CollectiveError(
                f"Rank {proc[1]} did not commit its data within {timeout} s.",
                status=Status.ERR_TIMEOUT,
            ) from None

    def _namespace(self, nspace: str) -> _Namespace:
        known = self._namespaces.get(nspace)
        if known is None:
            raise CollectiveError(
                f"The namespace {nspace} is not known here.", status=Status.ERR_NOT_FOUND
            )
        return known

    def _node_of(self, nspace: str, rank: int) -> int:
        node_of = self._namespace(nspace).node_of
        node = node_of[rank] if 0 <= rank < len(node_of) else None
        if node is None:
            raise CollectiveError(
                f"The namespace {nspace} has no rank {rank}.", status=Status.ERR_NOT_FOUND
            )
        return node
