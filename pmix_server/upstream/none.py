"""No launcher: one agent alone, on a laptop."""

from __future__ import annotations

import asyncio
import socket

from pmix_server.errors import PmixError
from pmix_server.job import NodeRanks
from pmix_server.status import Status
from pmix_server.upstream.base import UpstreamJob
from pmix_server.values import Proc

NAMESPACE = "alone"


class NoUpstream:
    """A job of one rank on this machine; what is published is kept here."""

    def __init__(self) -> None:
        self._published: dict[str, bytes] = {}
        self._news = asyncio.Event()

    def identity(self) -> Proc:
        return Proc(NAMESPACE, 0)

    async def connect(self) -> UpstreamJob:
        node = NodeRanks(socket.gethostname().split(".")[0], (0,))
        return UpstreamJob(NAMESPACE, 0, 1, 1, (node,), 0, NAMESPACE)

    async def publish(self, key: str, data: bytes) -> None:
        self._published[key] = data
        self._news.set()
        self._news = asyncio.Event()

    async def fetch(self, rank: int, key: str, timeout: float) -> bytes:
        if rank != 0:
            raise PmixError(f"There is no rank {rank}.", status=Status.ERR_NOT_FOUND)
        try:
            async with asyncio.timeout(timeout):
                while key not in self._published:
                    await self._news.wait()
        except TimeoutError:
            raise PmixError(
                f"{key} was not published within {timeout:g} s.", status=Status.ERR_TIMEOUT
            ) from None
        return self._published[key]

    async def abort(self, status: int, message: str) -> None:
        """Nobody to tell: the agent ends its own ranks."""

    async def finalize(self) -> None:
        """Nobody to leave."""
