"""One copy of libpmix as client and server at once, from libpmix 5.0 on.

A tool that says it is a launcher and has a rank's identity in its environment keeps that identity
upstream and serves namespaces of its own (PMIX_PROC_CLIENT_LAUNCHER). The launcher sees a tool
rather than a rank; Slurm and prterun accept it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from pmix_server import _pmixcore, environment, keys, library
from pmix_server.errors import PmixError
from pmix_server.status import Status
from pmix_server.upstream.base import UpstreamJob
from pmix_server.upstream.client import Client
from pmix_server.upstream.session import connect, leave, require_launcher
from pmix_server.values import Proc, boolean

_NODE_NAMES = ("SLURMD_NODENAME", "PMIX_HOSTNAME")


class LauncherUpstream:
    """Upstream over the server's copy of libpmix. The server must be given this object.

    Args:
        env: the environment in which the launcher started us.
        path: libpmix's file; by default it is looked for.
    """

    def __init__(self, env: Mapping[str, str], path: Path | None = None) -> None:
        self._env = env
        self._path = path
        self._client = Client(env)
        named = next((env[name] for name in _NODE_NAMES if env.get(name)), None)
        self.node = named or socket.gethostname().split(".")[0]
        """What this copy of libpmix calls this node, towards the ranks too."""

    def identity(self) -> Proc:
        return self._client.identity()

    async def connect(self) -> UpstreamJob:
        require_launcher(self._env)
        loaded = library.load_server(self._path or library.find(self._env))
        if not loaded.can_be_launcher:
            raise PmixError(
                f"{loaded.path} is libpmix {'.'.join(map(str, loaded.version))}, which cannot be "
                "client and server in one copy.",
                "Use the isolated mode, or libpmix 5.0 or newer.",
                status=Status.ERR_NOT_SUPPORTED,
            )
        library.share_server()
        settings = environment.pmix_variables(self._env) | {"PMIX_HOSTNAME": self.node}
        infos = [boolean(keys.LAUNCHER, True)]
        self._client.attach(await connect(_pmixcore.launcher_init, infos, settings))
        return await self._client.job()

    async def publish(self, key: str, data: bytes) -> None:
        await self._client.publish(key, data)

    async def fetch(self, rank: int, key: str, timeout: float) -> bytes:
        return await self._client.fetch(rank, key, timeout)

    async def abort(self, status: int, message: str) -> None:
        await self._client.abort(status, message)

    async def finalize(self) -> None:
        """Also ends the serving of ranks: stop the server first."""
        if self._client.connected:
            self._client.detach()
            await leave(_pmixcore.launcher_finalize)
