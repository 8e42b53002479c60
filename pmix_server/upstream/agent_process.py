"""The fallback mode: the client lives in a helper process, with the fewest assumptions."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from collections.abc import Mapping
from typing import Any

from pmix_server.errors import PmixError
from pmix_server.job import NodeRanks
from pmix_server.status import Status
from pmix_server.upstream import wire
from pmix_server.upstream.base import UpstreamJob
from pmix_server.upstream.session import require_launcher
from pmix_server.values import Proc

_EXIT_LIMIT = 10.0  # seconds for the helper to finalize and end


class AgentProcessUpstream:
    """Upstream over a helper process.

    Args:
        env: the environment in which the launcher started us.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self._proc: Proc | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    def identity(self) -> Proc:
        if self._proc is None:
            raise PmixError("The launcher is not connected.", status=Status.ERR_INIT)
        return self._proc

    async def connect(self) -> UpstreamJob:
        require_launcher(self._env)
        await self._start()
        try:
            fields = await self._call("connect")
        except PmixError:
            await self.finalize()
            raise
        fields["nodes"] = tuple(
            NodeRanks(node["name"], tuple(node["ranks"])) for node in fields["nodes"]
        )
        job = UpstreamJob(**fields)
        self._proc = Proc(job.nspace, job.rank)
        return job

    async def publish(self, key: str, data: bytes) -> None:
        await self._call("publish", key, data)

    async def fetch(self, rank: int, key: str, timeout: float) -> bytes:
        return bytes(await self._call("fetch", rank, key, timeout))

    async def abort(self, status: int, message: str) -> None:
        await self._call("abort", status, message)

    async def finalize(self) -> None:
        """Close the socket: the helper finalizes at its end."""
        self._proc = None
        if self._writer is None or self._process is None or self._reading is None:
            return
        writer, process, reading = self._writer, self._process, self._reading
        self._writer = None
        writer.write_eof()
        try:
            async with asyncio.timeout(_EXIT_LIMIT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading
        writer.close()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "pmix_server.upstream.helper",
                str(theirs.fileno()),
                env=self._env,
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
            )
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._reading = asyncio.create_task(self._read(reader))

    async def _call(self, method: str, *args: object) -> Any:
        if self._writer is None:
            raise PmixError("The launcher is not connected.", status=Status.ERR_INIT)
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(wire.encode([number, method, list(args)]))
            return await self._waiting[number]
        finally:
            self._waiting.pop(number, None)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while (message := await wire.read(reader)) is not None:
            number, good, result = message
            waiting = self._waiting.get(number)
            if waiting is None or waiting.done():
                continue
            if good:
                waiting.set_result(result)
            else:
                text, hint, status = result
                waiting.set_exception(PmixError(text, hint, status=status))
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(
                    PmixError("The PMIx helper has ended.", status=Status.ERR_LOST_CONNECTION)
                )
