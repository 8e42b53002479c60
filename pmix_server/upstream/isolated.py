"""The default mode: a private second copy of libpmix is the client.

One image of libpmix holds one identity, so the server's copy cannot be the launcher's rank. A
copy of the file with its own inode, loaded with RTLD_LOCAL and RTLD_DEEPBIND, has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pmix_server import _pmixcore, environment, library
from pmix_server.library import Library
from pmix_server.upstream.base import UpstreamJob
from pmix_server.upstream.client import Client
from pmix_server.upstream.session import connect, leave, require_launcher
from pmix_server.values import Proc


class IsolatedUpstream:
    """Upstream over the client's copy of libpmix.

    Args:
        env: the environment in which the launcher started us.
        path: libpmix's file; by default it is looked for.
        private: off only in a process that is no server: then the file itself is loaded.
    """

    def __init__(
        self, env: Mapping[str, str], path: Path | None = None, *, private: bool = True
    ) -> None:
        self._env = env
        self._path = path
        self._private = private
        self._client = Client(env)

    def identity(self) -> Proc:
        return self._client.identity()

    async def connect(self) -> UpstreamJob:
        require_launcher(self._env)
        if self._private and library.loaded_server() is None:
            # Plugins bind to the first libpmix that bears the soname. It must be the server's:
            # bound to the client's copy, they make PMIx_server_init crash (4.2.2).
            library.load_server(library.find(self._env))
        path = self._path or library.find_client(self._env)
        loaded = library.load_client(path, private=self._private)
        self._client.attach(await connect(_pmixcore.client_init, [], self._settings(loaded)))
        return await self._client.job()

    def _settings(self, loaded: Library) -> dict[str, str]:
        """Debian's libpmix has plugins, which bind to the copy that bears libpmix's soname: the
        server's. Of another version they would not fit, so then the client does without."""
        settings = environment.pmix_variables(self._env)
        server = library.loaded_server()
        if server is not None and server.version != loaded.version:
            settings["PMIX_MCA_mca_base_component_disable_dlopen"] = "1"
        return settings

    async def publish(self, key: str, data: bytes) -> None:
        await self._client.publish(key, data)

    async def fetch(self, rank: int, key: str, timeout: float) -> bytes:
        return await self._client.fetch(rank, key, timeout)

    async def abort(self, status: int, message: str) -> None:
        await self._client.abort(status, message)

    async def finalize(self) -> None:
        if self._client.connected:
            self._client.detach()
            await leave(_pmixcore.client_finalize)
