"""The agent's relation to its launcher: a PMIx client only while it needs one.

Slurm kills the whole step when a PMIx client dies without PMIx_Finalize, and with
proctrack/cgroup slurmstepd kills us, with everything else of the step on this node, at the moment
when the last rank here ends (slurmstepd/mgr.c, job_manager). So we finalize as soon as the agents
have found each other, and connect again only in order to abort.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from pmix_server import PmixError, Upstream, UpstreamJob, open_upstream
from pmix_server.upstream import Mode
from shim.errors import ShimError

log = logging.getLogger(__name__)


class Uplink:
    """One agent's client of the launcher."""

    def __init__(self, mode: Mode, env: Mapping[str, str]) -> None:
        self._mode = mode
        self._env = env
        self._lock = asyncio.Lock()
        self._upstream: Upstream | None = None
        self._retired = False

    @property
    def upstream(self) -> Upstream:
        assert self._upstream is not None, "not connected"
        return self._upstream

    @property
    def connected(self) -> bool:
        return self._upstream is not None

    async def connect(self) -> UpstreamJob:
        """Become a client of the launcher.

        Raises:
            ShimError: there is no launcher to connect to, or it does not answer.
        """
        async with self._lock:
            try:
                return await self._connect()
            except PmixError as error:
                raise presentable(error) from error

    async def _connect(self) -> UpstreamJob:
        upstream = open_upstream(self._mode, self._env)
        try:
            job = await upstream.connect()
        except BaseException:
            await upstream.finalize()
            raise
        self._upstream = upstream
        return job

    async def retire(self) -> None:
        """Finalize until `abort`. In `launcher` mode client and server are one libpmix, which
        cannot be left alone."""
        async with self._lock:
            if self._upstream and self._mode != "launcher":
                self._retired = True
                await self._upstream.finalize()

    async def abort(self, code: int, text: str) -> None:
        """Ask the launcher to end the job on all nodes; its exit code is *code* then."""
        async with self._lock:
            try:
                if self._retired:
                    await self._connect()
                    self._retired = False
                if self._upstream:
                    await self._upstream.abort(code, text)
            except PmixError as error:
                log.warning("the launcher does not end the job: %s", error.message)

    async def finalize(self) -> None:
        async with self._lock:
            if self._upstream and not self._retired:
                await self._upstream.finalize()


def presentable(error: PmixError) -> ShimError:
    """The PMIx room's error as the one that users see."""
    return ShimError(error.message, error.hint)
