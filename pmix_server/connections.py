"""PMIx_Connect and PMIx_Disconnect: sets of processes that mean to share their fate.

libpmix asks only where ranks of other nodes take part, once per node when all local members have
called. What a connection means for the life of its members is the same as for one job: the end of
a rank that owes the others a PMIx_Finalize ends them all.
"""

from __future__ import annotations

from collections.abc import Mapping

from pmix_server import keys
from pmix_server._pmixcore import Request
from pmix_server.collectives import Collectives
from pmix_server.errors import PmixError
from pmix_server.fence import digest
from pmix_server.service import Handler
from pmix_server.status import Status
from pmix_server.values import Proc, find


class Connections:
    """The sets that are connected and that this node has a part in."""

    def __init__(self, collectives: Collectives) -> None:
        self._collectives = collectives
        self._connected: dict[bytes, int] = {}
        self.answers: Mapping[str, Handler] = {
            "connect": self._connect,
            "disconnect": self._disconnect,
        }

    def process_ended(self, proc: Proc) -> None:
        """The set stays: its other members may still disconnect from each other."""

    async def _connect(self, request: Request, timeout: float | None) -> None:
        await self._meet("connect", request, timeout)
        identity = _identity(request)
        self._connected[identity] = self._connected.get(identity, 0) + 1

    async def _disconnect(self, request: Request, timeout: float | None) -> None:
        identity = _identity(request)
        if not self._connected.get(identity):
            raise PmixError(
                "These processes are not connected.", status=Status.ERR_INVALID_OPERATION
            )
        await self._meet("disconnect", request, timeout)
        self._connected[identity] -= 1
        if not self._connected[identity]:
            del self._connected[identity]

    async def _meet(self, purpose: str, request: Request, timeout: float | None) -> None:
        procs = [Proc(*proc) for proc in request.procs]
        status = int(find(request.infos, keys.LOCAL_COLLECTIVE_STATUS) or Status.SUCCESS)
        await self._collectives.gather(purpose, procs, b"", timeout, status=status)


def _identity(request: Request) -> bytes:
    return digest(Proc(*proc) for proc in request.procs)
