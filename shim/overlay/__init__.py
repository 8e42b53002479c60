"""The authenticated, encrypted mesh between the agents of a job.

    head = await open_head(("n0", "n1"), nspace, job)       # node 0
    await upstream.publish(key, await head.listen())
    await head.wait_complete(timeout=60)

    mesh = await join(await upstream.fetch(0, key, 60), 1, ("n0", "n1"))     # every other node

Both are `pmix_server.mesh.Mesh`. A job of one node opens no socket and loads no messaging library
until it grows: then its head starts to `listen`.
"""

from __future__ import annotations

from collections.abc import Sequence

from shim.overlay.endpoint import HeadEndpoint
from shim.overlay.head import Head, Progress
from shim.overlay.overlay import Overlay

__all__ = ["Head", "HeadEndpoint", "Overlay", "join", "open_head"]

START_SECONDS = 60.0


def _quiet(_: str) -> None:
    """Progress that nobody wants to see."""


def open_head(names: Sequence[str], nspace: str, job: str, *, progress: Progress = _quiet) -> Head:
    """The mesh on node 0 of the nodes *names*, not listening yet.

    Args:
        nspace: the inner PMIx namespace that all agents will register.
        job: the launcher's name of the step, for messages.
        progress: gets a line every second while nodes are missing.
    """
    return Head(names, nspace, job, progress)


async def join(
    endpoint_blob: bytes,
    index: int | None,
    names: Sequence[str],
    *,
    timeout: float = START_SECONDS,
    progress: Progress = _quiet,
    addresses: Sequence[str] = (),
) -> Overlay:
    """Join the mesh as node *index* and wait until all nodes of the start are there.

    Args:
        endpoint_blob: what the head's `listen` gave, handed over through PMIx only.
        index: None for a node that grows into a running job; the head allots the next index.
        names: node names by index, as far as known.
        addresses: where to listen, instead of all addresses that others can reach.

    Raises:
        ShimError: the head cannot be reached, refuses, is lost, or *timeout* seconds have passed.
    """
    from shim.overlay.member import join_mesh

    head = HeadEndpoint.unpack(endpoint_blob)
    return await join_mesh(head, index, names, timeout, progress, addresses)
