"""What the agent does for the ranks: the calls of the standard that end at our server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pmix_server.values import Proc


class Host(Protocol):
    """The environment behind the server. Every method runs on the server's event loop.

    An exception answers the rank with its attribute `status` if it has one, else PMIX_ERROR.
    """

    async def fence(
        self,
        procs: Sequence[Proc],
        data: bytes,
        collect: bool,
        timeout: float | None,
        *,
        status: int = 0,
    ) -> bytes:
        """Wait for all nodes that host *procs*; give the data of all of them, ours included.

        Called once per node and fence, and only if ranks of other nodes take part. *status* is
        not 0 if a local participant has failed; the other nodes must learn it.
        """

    async def direct_modex(self, proc: Proc, timeout: float | None) -> bytes:
        """The data that a rank of another node has committed."""

    async def abort(self, proc: Proc, status: int, message: str, procs: Sequence[Proc]) -> None:
        """End *procs* (empty: the whole namespace) on behalf of *proc*."""

    def client_connected(self, proc: Proc) -> None:
        """A rank has called PMIx_Init."""

    def client_finalized(self, proc: Proc) -> None:
        """A rank has called PMIx_Finalize."""
