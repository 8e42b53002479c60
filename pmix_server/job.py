"""The description of one job, as the agent of one node gives it to its PMIx server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pmix_server.errors import PmixError
from pmix_server.status import Status

if TYPE_CHECKING:
    from cpusets import CpuSet

MAX_NAMESPACE = 255
"""PMIX_MAX_NSLEN (pmix_common.h)."""


@dataclass(frozen=True)
class NodeRanks:
    """A node and the ranks of the job on it, ascending."""

    name: str
    ranks: tuple[int, ...]


@dataclass(frozen=True)
class JobSpec:
    """All of a job that its ranks can ask for.

    Attributes:
        nspace: the inner namespace; it is what a rank must know to connect, so make it
            unguessable. At most 255 bytes.
        job_id: the scheduler's name of the job, for people ("1234.0").
        nodes: every node of the job with its ranks; a node's index is its PMIX_NODEID.
        local: index in `nodes` of this node.
        appnums: application number by rank, for a job of several command lines; a rank that
            is not in it belongs to application 0.
        cpusets: CPUs by local rank, OS numbering; a rank that is not in it is not bound.
        tmpdir: directory under which ranks find TMPDIR and NSDIR, the same path inside the
            container; None where there is none that they can see.
        uid, gid: of the ranks, **as seen inside the container**: libpmix compares them with
            what the rank claims.
        univ_size: slots of the allocation; 0 for the job's size.
        alloc_id, allocated_nodes, time_remaining (seconds): of the allocation, where known.
        rm_name: the resource manager's name, for people.
        map_by, bind_to: policies by PMIx's names ("node", "core"), where known.
    """

    nspace: str
    job_id: str
    nodes: tuple[NodeRanks, ...]
    local: int
    uid: int
    gid: int
    appnums: Mapping[int, int] = field(default_factory=dict)
    cpusets: Mapping[int, CpuSet] = field(default_factory=dict)
    tmpdir: str | None = None
    univ_size: int = 0
    alloc_id: str | None = None
    allocated_nodes: tuple[str, ...] = ()
    time_remaining: int | None = None
    rm_name: str | None = None
    map_by: str | None = None
    bind_to: str | None = None

    def __post_init__(self) -> None:
        ranks = sorted(rank for node in self.nodes for rank in node.ranks)
        if not 0 <= self.local < len(self.nodes):
            raise _bad(f"node {self.local} of {len(self.nodes)} cannot be this node")
        if ranks != list(range(len(ranks))) or not ranks:
            raise _bad("the ranks of a job must be 0 to n-1, each on one node")
        if not 0 < len(self.nspace.encode()) <= MAX_NAMESPACE:
            raise _bad(f"the namespace {self.nspace!r} is empty or over {MAX_NAMESPACE} bytes")

    @cached_property
    def size(self) -> int:
        """Number of ranks of the job."""
        return sum(len(node.ranks) for node in self.nodes)

    @property
    def here(self) -> NodeRanks:
        """This node."""
        return self.nodes[self.local]

    @cached_property
    def node_of(self) -> Mapping[int, int]:
        """Node index by rank."""
        return {rank: index for index, node in enumerate(self.nodes) for rank in node.ranks}


def _bad(reason: str) -> PmixError:
    return PmixError(f"The job description is wrong: {reason}.", status=Status.ERR_BAD_PARAM)
