"""What the ranks' PMIx server asks of the agent (the host, in the words of the standard)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pmix_server import Proc
from pmix_server.collectives import Collectives


@dataclass(frozen=True)
class AgentHost:
    """Implements `pmix_server.Host`: collectives go to the mesh, lives to the session."""

    collectives: Collectives
    on_connected: Callable[[int], None]
    on_finalized: Callable[[int], None]
    on_abort: Callable[[Proc, int, str, Sequence[Proc]], Awaitable[None]]

    async def fence(
        self,
        procs: Sequence[Proc],
        data: bytes,
        collect: bool,
        timeout: float | None,
        *,
        status: int = 0,
    ) -> bytes:
        return await self.collectives.fence(procs, data, collect, timeout, status=status)

    async def direct_modex(self, proc: Proc, timeout: float | None) -> bytes:
        return await self.collectives.direct_modex(proc, timeout)

    async def abort(self, proc: Proc, status: int, message: str, procs: Sequence[Proc]) -> None:
        await self.on_abort(proc, status, message, procs)

    def client_connected(self, proc: Proc) -> None:
        self.on_connected(proc.rank)

    def client_finalized(self, proc: Proc) -> None:
        self.on_finalized(proc.rank)
