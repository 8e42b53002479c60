"""What agents tell each other about the life of the job's processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import TypeAlias

from pmix_server.mesh import Mesh
from pmix_server.mesh_messages import Body

KIND = "life"


@dataclass(frozen=True)
class Abort:
    """A rank asked for the end of processes (PMIx_Abort).

    Attributes:
        procs: (namespace, rank) to end; () for the whole job.
    """

    nspace: str
    rank: int
    status: int
    message: str
    procs: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class RankExited:
    """A rank has ended as it should not have.

    Attributes:
        status: as wait(2) gives it, or a negative number where the kernel does not tell.
        owed: it had called PMIx_Init and not PMIx_Finalize.
    """

    nspace: str
    rank: int
    status: int
    owed: bool


@dataclass(frozen=True)
class PartEnded:
    """All ranks of the sending node have ended; *worst* is the largest exit code among them."""

    nspace: str
    worst: int


Notice: TypeAlias = Abort | RankExited | PartEnded

_NOTICES: dict[str, type[Notice]] = {
    "abort": Abort,
    "exited": RankExited,
    "ended": PartEnded,
}
_TAGS = {notice: tag for tag, notice in _NOTICES.items()}


class Lifecycle:
    """Sends and receives notices.

    Args:
        mesh: the agents.
        on_notice: gets (node, notice) of every other node; own notices do not come back.
    """

    def __init__(self, mesh: Mesh, on_notice: Callable[[int, Notice], None]) -> None:
        self._mesh = mesh
        self._on_notice = on_notice
        mesh.subscribe(KIND, self._on_message)

    def tell_all(self, notice: Notice) -> None:
        """Send *notice* to every other agent."""
        self._mesh.broadcast(KIND, to_body(notice))

    def _on_message(self, node: int, body: Body) -> None:
        self._on_notice(node, from_body(body))


def to_body(notice: Notice) -> Body:
    return [_TAGS[type(notice)], *astuple(notice)]


def from_body(body: Body) -> Notice:
    tag, *fields = body
    if tag == "abort":
        nspace, rank, status, message, procs = fields
        return Abort(nspace, rank, status, message, tuple((name, of) for name, of in procs))
    return _NOTICES[tag](*fields)
