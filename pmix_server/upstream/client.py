"""What the modes have in common: identity, job data, publish, fetch, abort over one libpmix."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pmix_server import _pmixcore, blocking, keys
from pmix_server.channel import Channel
from pmix_server.errors import PmixError
from pmix_server.status import Status
from pmix_server.upstream import nodemap
from pmix_server.upstream.base import UpstreamJob
from pmix_server.values import RANK_WILDCARD, Info, Proc, Scope, Type, boolean

_CALL_LIMIT = 30.0  # seconds for the launcher's server to take a commit or an abort
_RETRY_FIRST, _RETRY_LONGEST = 0.01, 0.5  # seconds between two looks for a key
_NODE_NAME_VARIABLE = "SLURMD_NODENAME"


class Client:
    """Calls of the client role, once that is connected."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._channel = Channel(_pmixcore.CLIENT)
        self._proc: Proc | None = None

    def attach(self, proc: tuple[str, int]) -> None:
        """libpmix is connected as *proc*; deliver on the running loop from now on."""
        self._proc = Proc(*proc)
        self._channel.open()

    def detach(self) -> None:
        """Before libpmix is finalized: calls that still wait fail."""
        self._proc = None
        self._channel.close()

    @property
    def connected(self) -> bool:
        return self._proc is not None

    def identity(self) -> Proc:
        if self._proc is None:
            raise PmixError("The launcher is not connected.", status=Status.ERR_INIT)
        return self._proc

    async def job(self) -> UpstreamJob:
        """Everything about the job that the launcher tells."""
        nspace, rank = self.identity()
        size = int(await self._get(RANK_WILDCARD, keys.JOB_SIZE))
        hostnames = [str(await self._get(number, keys.HOSTNAME)) for number in range(size)]
        listed = _split(await self._optional(keys.NODE_LIST))
        peers = [int(text) for text in _split(await self._optional(keys.LOCAL_PEERS))]
        hint = self._env.get(_NODE_NAME_VARIABLE, "")
        hostnames[rank] = nodemap.own_node(hostnames, rank, peers, listed, hint)
        nodes = nodemap.group(hostnames, listed)
        local = next(i for i, node in enumerate(nodes) if rank in node.ranks)
        univ_size = int(await self._optional(keys.UNIV_SIZE) or size)
        job_id = str(await self._optional(keys.JOBID) or nspace)
        return UpstreamJob(nspace, rank, size, univ_size, nodes, local, job_id)

    async def publish(self, key: str, data: bytes) -> None:
        try:
            _pmixcore.put(Scope.GLOBAL, key, Type.BYTE_OBJECT, data)
        except _pmixcore.PMIxError as error:
            raise PmixError.of_call(f"Publishing {key}", error.args[0]) from None
        await blocking.call(f"Publishing {key}", _pmixcore.commit, limit=_CALL_LIMIT)

    async def fetch(self, rank: int, key: str, timeout: float) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await self._fetch(rank, key)
        except TimeoutError:
            raise PmixError(
                f"Rank {rank} of the launcher's job did not publish {key} within {timeout:g} s.",
                status=Status.ERR_TIMEOUT,
            ) from None

    async def _fetch(self, rank: int, key: str) -> bytes:
        """The launcher holds the request until the rank has committed; a rank that committed
        something else first makes it NOT_FOUND, so look again."""
        pause = _RETRY_FIRST
        infos: list[Info] = []
        while True:
            try:
                return bytes(await self._get(rank, key, infos))
            except PmixError as error:
                if error.status != Status.ERR_NOT_FOUND:
                    raise
            infos = [boolean(keys.GET_REFRESH_CACHE, True)]
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_LONGEST)

    async def abort(self, status: int, message: str) -> None:
        self.identity()
        await blocking.call(
            "Aborting the launcher's job", _pmixcore.abort, status, message, limit=_CALL_LIMIT
        )

    async def _get(self, rank: int, key: str, infos: Sequence[Info] = ()) -> Any:
        proc = Proc(self.identity().nspace, rank)
        payload = await self._channel.call(f"Reading {key}", _pmixcore.get, proc, key, infos)
        if payload is None or payload[1] is NotImplemented:
            raise PmixError(
                f"The launcher's {key} is of a type that is not handled.",
                status=Status.ERR_NOT_SUPPORTED,
            )
        return payload[1]

    async def _optional(self, key: str) -> Any:
        """A job-level key, or None where the launcher does not have it."""
        try:
            return await self._get(RANK_WILDCARD, key)
        except PmixError:
            return None


def _split(text: object) -> list[str]:
    return [part for part in str(text).split(",") if part] if text else []
