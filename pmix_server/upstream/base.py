"""The one interface towards whoever launched us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pmix_server.job import NodeRanks
from pmix_server.values import Proc


@dataclass(frozen=True)
class UpstreamJob:
    """What the launcher tells about the job that we are a rank of.

    Attributes:
        nspace, rank: who we are.
        size: ranks of the job.
        univ_size: slots of the allocation.
        nodes: the launcher's nodes with their ranks, in its order.
        local: index of our node in `nodes`.
        job_id: the scheduler's name of the job.
    """

    nspace: str
    rank: int
    size: int
    univ_size: int
    nodes: tuple[NodeRanks, ...]
    local: int
    job_id: str


class Upstream(Protocol):
    """A client of the launcher. Every method belongs to one event loop.

    The launcher is asked for identity, job data, one key of another rank and abort: those are
    what Slurm's plugin answers. `finalize` must always be reached, since a client that dies
    without it makes Slurm kill the step.
    """

    def identity(self) -> Proc:
        """Our namespace and rank; valid once connected."""

    async def connect(self) -> UpstreamJob:
        """Join the launcher and learn about the job.

        Raises:
            PmixError: there is no launcher, or it cannot be reached.
        """

    async def publish(self, key: str, data: bytes) -> None:
        """Make *data* visible to all ranks of the job (PMIx_Put and PMIx_Commit)."""

    async def fetch(self, rank: int, key: str, timeout: float) -> bytes:
        """What another rank has published; waits until it has, at most *timeout* seconds.

        Raises:
            PmixError: PMIX_ERR_TIMEOUT, or the launcher's status.
        """

    async def abort(self, status: int, message: str) -> None:
        """Ask the launcher to end the whole job with *status*."""

    async def finalize(self) -> None:
        """Leave the launcher. Safe to call twice, and without `connect`."""
