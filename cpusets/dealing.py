"""Deal the ranks of a job to its nodes, from no more than a few numbers of each node (pure).

A launcher on many nodes need not know every node's topology: each node measures its own capacity,
and all reach the same division from the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from cpusets.axes import RankBy
from cpusets.cpuset import CpuSet
from cpusets.errors import PlanError
from cpusets.plan import usable_cpus
from cpusets.request import NodeRequest
from cpusets.shares import apportion, cores_of
from cpusets.topology import Topology


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one node has for the ranks of a job."""

    cpus: int
    """Usable hardware threads."""
    cores: int
    gpus: int
    places: int
    """Ranks that `ppr` puts on it; 0 where the request is no such one."""


def capacity(topology: Topology, allowed: CpuSet, request: NodeRequest) -> Capacity:
    """Measure a node. Raises PlanError where the request leaves nothing of it."""
    usable = usable_cpus(topology, allowed, request)
    return Capacity(
        cpus=len(usable),
        cores=len(cores_of(topology, usable)),
        gpus=sum(device.kind == "gpu" for device in topology.devices),
        places=_places(topology, usable, request),
    )


def _places(topology: Topology, usable: CpuSet, request: NodeRequest) -> int:
    map_by = request.map_by
    if map_by is None or map_by.kind != "ppr":
        return 0
    if map_by.over == "node":
        return map_by.per
    kind = "pu" if map_by.over == "hwthread" else map_by.over
    return map_by.per * max(1, len(topology.spanned(kind, usable)))


def deal(
    nodes: Sequence[Capacity], ranks: int, request: NodeRequest, per_node: int | None = None
) -> list[tuple[int, ...]]:
    """The rank numbers of each node. Raises PlanError where the nodes cannot hold them.

    Ranks are divided in proportion to the nodes' cores (GPUs, if these are asked for); with
    `per_node` or `ppr` nodes are filled in turn.
    """
    if ranks < 1 or not nodes:
        raise PlanError(f"{ranks} ranks on {len(nodes)} nodes is no job.", "Ask for at least 1.")
    if per_node is not None and per_node < 1:
        raise PlanError(f"{per_node} ranks per node is no job.", "Ask for at least 1.")
    counts = _counts(nodes, ranks, request, per_node)
    return _dealt_in_turn(counts) if _deals_by_node(request) else _blocks(counts)


def every_place(nodes: Sequence[Capacity], request: NodeRequest, per_node: int | None) -> int:
    """How many ranks fill the nodes: one per GPU or share of it, per place of `ppr`, or per core
    (more of them, if a rank has several cores or threads)."""
    return sum(
        _room(node, request) if per_node is None else min(_room(node, request), per_node)
        for node in nodes
    )


def _room(node: Capacity, request: NodeRequest) -> int:
    if request.gpus_per_rank:
        return int(node.gpus / request.gpus_per_rank)
    if node.places:
        return node.places
    units = node.cpus if request.unit == "pu" else node.cores
    per_core = 1 if request.unit == "pu" else request.smt or 1
    size = request.cpus_per_rank or -(-(request.threads or 1) // per_core)
    return max(1, units // size)


def _counts(
    nodes: Sequence[Capacity], ranks: int, request: NodeRequest, per_node: int | None
) -> list[int]:
    by_places = request.map_by is not None and request.map_by.kind == "ppr"
    if per_node is None and not by_places:
        gpus = [node.gpus for node in nodes] if request.gpus_per_rank else []
        return apportion(gpus if any(gpus) else [node.cores for node in nodes], ranks)
    limits = [per_node or node.places for node in nodes]
    if ranks > sum(limits):
        what = f"{per_node} ranks per node" if per_node else str(request.map_by)
        raise PlanError(
            f"{ranks} ranks do not fit on {len(nodes)} nodes with {what}.",
            f"That holds at most {sum(limits)}.",
        )
    counts = []
    for limit in limits:
        counts.append(min(limit, ranks))
        ranks -= counts[-1]
    return counts


def _deals_by_node(request: NodeRequest) -> bool:
    by_node = request.map_by is not None and request.map_by.kind == "node"
    return by_node or request.rank_by is RankBy.NODE


def _blocks(counts: Sequence[int]) -> list[tuple[int, ...]]:
    ends = accumulate(counts)
    return [tuple(range(end - n, end)) for end, n in zip(ends, counts, strict=True)]


def _dealt_in_turn(counts: Sequence[int]) -> list[tuple[int, ...]]:
    numbers: list[list[int]] = [[] for _ in counts]
    rank = 0
    for turn in range(max(counts)):
        for mine, count in zip(numbers, counts, strict=True):
            if turn < count:
                mine.append(rank)
                rank += 1
    return [tuple(mine) for mine in numbers]
