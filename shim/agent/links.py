"""What connects this agent: upwards to the launcher, sideways to the other agents."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pmix_server import PmixError, Upstream, UpstreamJob
from pmix_server.mesh import LocalMesh, Mesh
from shim.agent.uplink import Uplink, presentable

ENDPOINT_KEY = "shim.endpoint"
"""PMIx key under which the head's overlay endpoint and secret are handed over."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Links:
    """An agent that knows its job and reaches its peers."""

    upstream: Upstream
    job: UpstreamJob
    mesh: Mesh
    nspace: str
    """The inner namespace, the same on every node; unguessable, since knowing it is what lets a
    process of the same user claim to be a rank."""

    async def close_mesh(self) -> None:
        """Leave the other agents; a mesh of one node has nothing to leave."""
        close = getattr(self.mesh, "close", None)
        if close is not None:
            await close()


async def open_links(
    upstream: Upstream, job: UpstreamJob, timeout: float, progress: Progress
) -> Links:
    """Find the other agents of the step through the launcher.

    The first node's agent publishes its endpoint and the others get it: Slurm's direct modex
    holds a get until the key is committed, so no upstream fence is needed. One node needs none.

    Raises:
        ShimError: a node did not come in time; the sentence names it.
    """
    names = tuple(node.name for node in job.nodes)
    nspace = f"shim-{os.urandom(12).hex()}"
    if len(names) == 1:
        return Links(upstream, job, LocalMesh(names[0]), nspace)
    from shim.overlay import join, open_head  # zmq costs a single-node job 40 ms and 6 MB

    try:
        if job.local == 0:
            head = open_head(names, nspace, job.job_id, progress=progress)
            await upstream.publish(ENDPOINT_KEY, await head.listen())
            await head.wait_complete(timeout)
            return Links(upstream, job, head, nspace)
        blob = await upstream.fetch(min(job.nodes[0].ranks), ENDPOINT_KEY, timeout)
        member = await join(blob, job.local, names, timeout=timeout, progress=progress)
        return Links(upstream, job, member, member.nspace)
    except PmixError as error:
        raise presentable(error) from error


async def attend(rank: int, env: Mapping[str, str]) -> None:
    """Call PMIx_Init and PMIx_Finalize towards the launcher in the name of another local rank.

    Raises:
        ShimError: the launcher does not know the rank.
    """
    uplink = Uplink("agent", {**env, "PMIX_RANK": str(rank)})
    await uplink.connect()
    await uplink.finalize()
