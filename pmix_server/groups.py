"""Process groups: PMIx_Group_construct and PMIx_Group_destruct over ranks of several nodes.

A group is a collective of its members with a name, which shares what its members have put. Members
that are invited and that join later agree among themselves by events; see `pmix_server.events`.

    groups.context    None    answered by a number that no other group of the job has
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping, Sequence

from pmix_server import keys
from pmix_server._pmixcore import Request
from pmix_server.collectives import Collectives
from pmix_server.mesh import Mesh
from pmix_server.mesh_messages import Body
from pmix_server.service import Handler
from pmix_server.status import Status
from pmix_server.values import Info, Proc, Type, find

CONTEXT = "groups.context"
OWNER = 0
"""The node that numbers the groups."""

HEADER = struct.Struct("<QQ")
"""What each node's share of a construct begins with: context number or 0, length of its data."""


class Groups:
    """The groups that this node has a part in, by name."""

    def __init__(self, mesh: Mesh, collectives: Collectives) -> None:
        self._mesh = mesh
        self._collectives = collectives
        self._contexts = itertools.count(1)
        self.members: dict[str, tuple[Proc, ...]] = {}
        self.answers: Mapping[str, Handler] = {"group": self._group}
        if mesh.index == OWNER:
            mesh.subscribe(CONTEXT, self._on_context)

    def process_ended(self, proc: Proc) -> None:
        """The group stays until its members destruct it."""

    async def _group(self, request: Request, timeout: float | None) -> list[Info]:
        procs = tuple(Proc(*proc) for proc in request.procs)
        if request.number:
            return await self._construct(request, procs, timeout)
        if not find(request.infos, keys.GROUP_LOCAL_ONLY):
            await self._gather("destruct", request, procs, b"", timeout)
        self.members.pop(request.text, None)
        return []

    async def _construct(
        self, request: Request, procs: tuple[Proc, ...], timeout: float | None
    ) -> list[Info]:
        data = bytes(find(request.infos, keys.GROUP_ENDPT_DATA) or b"")
        numbered = bool(find(request.infos, keys.GROUP_ASSIGN_CONTEXT_ID))
        local = bool(find(request.infos, keys.GROUP_LOCAL_ONLY))
        first = local or self._mesh.index == self._collectives.nodes_of(procs)[0]
        number = 0
        if numbered and first:
            number = await self._mesh.request(OWNER, CONTEXT, None, timeout)
        share = HEADER.pack(number, len(data)) + data
        if not local:
            share = await self._gather("construct", request, procs, share, timeout)
        number, data = join_shares(share)
        self.members[request.text] = procs
        return answer(procs, number if numbered else None, data)

    async def _gather(
        self,
        purpose: str,
        request: Request,
        procs: Sequence[Proc],
        data: bytes,
        timeout: float | None,
    ) -> bytes:
        status = int(find(request.infos, keys.LOCAL_COLLECTIVE_STATUS) or Status.SUCCESS)
        named = f"group {purpose} {request.text}"
        return await self._collectives.gather(named, procs, data, timeout, status=status)

    def _on_context(self, node: int, body: Body) -> int:
        return next(self._contexts)


def join_shares(shares: bytes) -> tuple[int, bytes]:
    """The context number and the data of all nodes, from their shares one after the other."""
    context, data, offset = 0, [], 0
    while offset < len(shares):
        number, length = HEADER.unpack_from(shares, offset)
        offset += HEADER.size
        context = max(context, number)
        data.append(shares[offset : offset + length])
        offset += length
    return context, b"".join(data)


def answer(procs: Sequence[Proc], context: int | None, data: bytes) -> list[Info]:
    """What libpmix gets for the members (`_grpcbfunc` in pmix_server_ops.c)."""
    infos = [Info(keys.GROUP_MEMBERSHIP, Type.DATA_ARRAY, (Type.PROC, list(procs)))]
    if context is not None:
        infos.append(Info(keys.GROUP_CONTEXT_ID, Type.SIZE, context))
    if data:
        infos.append(Info(keys.GROUP_ENDPT_DATA, Type.BYTE_OBJECT, data))
    return infos
