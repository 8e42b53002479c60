"""A job on several nodes: deal its ranks to the nodes, then plan every node by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from cpusets.axes import RankBy
from cpusets.cpuset import CpuSet
from cpusets.errors import PlanError
from cpusets.plan import NodePlan, RankPlacement, plan_node, usable_cpus
from cpusets.rankfile import RankLine, cpus_of
from cpusets.request import NodeRequest, check
from cpusets.shares import apportion, cores_of
from cpusets.topology import Topology


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the job and the CPUs that the job has there."""

    name: str
    topology: Topology
    allowed: CpuSet


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node with its plan."""

    node: Node
    plan: NodePlan


@dataclass(frozen=True, slots=True)
class JobPlan:
    """The plan of every node, in the order of the nodes."""

    nodes: tuple[PlannedNode, ...]

    def placements(self) -> list[tuple[str, RankPlacement]]:
        """(node name, placement) of all ranks, in rank order."""
        pairs = [(n.node.name, p) for n in self.nodes for p in n.plan.placements]
        return sorted(pairs, key=lambda pair: pair[1].rank)


def plan_job(
    nodes: Sequence[Node],
    ranks: int,
    request: NodeRequest,
    *,
    ranks_per_node: int | None = None,
) -> JobPlan:
    """Plan `ranks` ranks on the nodes; the ranks in `request` are ignored.

    Nodes of one kind with equally many ranks are planned once. Raises PlanError, naming the
    node, where something does not fit.
    """
    if ranks < 1 or not nodes:
        raise PlanError(f"{ranks} ranks on {len(nodes)} nodes is no job.", "Ask for at least 1.")
    check(request)
    counts = _counts(nodes, ranks, request, ranks_per_node)
    numbers = _numbers(counts, by_node=_deals_by_node(request))
    known: dict[tuple[int, CpuSet, int], NodePlan] = {}
    planned = []
    for node, mine in zip(nodes, numbers, strict=True):
        key = (id(node.topology), node.allowed, len(mine))
        if key not in known:
            known[key] = _plan(node, replace(request, ranks=tuple(range(len(mine)))))
        planned.append(PlannedNode(node, _renumbered(known[key], mine)))
    return JobPlan(tuple(planned))


def plan_rankfile(
    nodes: Sequence[Node], lines: Sequence[RankLine], request: NodeRequest
) -> JobPlan:
    """Plan the ranks of a rank file. Raises PlanError for nodes or CPUs that do not exist."""
    masks: list[dict[int, CpuSet]] = [{} for _ in nodes]
    names = {name: i for i, node in enumerate(nodes) for name in (node.name, f"+n{i}")}
    for line in lines:
        if line.node not in names:
            raise PlanError(
                f"The rank file puts rank {line.rank} on {line.node}, which the job has not.",
                f"The nodes are {', '.join(n.name for n in nodes[:8])} (or +n0, +n1 …).",
            )
        at = names[line.node]
        masks[at][line.rank] = cpus_of(line, nodes[at].topology)
    return JobPlan(
        tuple(
            PlannedNode(node, _plan(node, replace(request, ranks=tuple(mine), explicit=mine)))
            for node, mine in zip(nodes, masks, strict=True)
        )
    )


def _deals_by_node(request: NodeRequest) -> bool:
    by_node = request.map_by is not None and request.map_by.kind == "node"
    return by_node or request.rank_by is RankBy.NODE


def _counts(
    nodes: Sequence[Node], ranks: int, request: NodeRequest, per_node: int | None
) -> list[int]:
    """How many ranks each node gets: in order up to a limit, or in proportion to its cores."""
    if per_node is None and not (request.map_by and request.map_by.kind == "ppr"):
        return apportion(_sizes(nodes, request), ranks)
    limits = [per_node or _resources(node, request) for node in nodes]
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


def _sizes(nodes: Sequence[Node], request: NodeRequest) -> list[int]:
    """What the nodes are compared by: their GPUs if these are asked for, else their cores."""
    if request.gpus_per_rank:
        gpus = [sum(d.kind == "gpu" for d in node.topology.devices) for node in nodes]
        if any(gpus):
            return gpus
    known: dict[tuple[int, CpuSet], int] = {}
    for node in nodes:
        key = (id(node.topology), node.allowed)
        if key not in known:
            usable = usable_cpus(node.topology, node.allowed, request)
            known[key] = len(cores_of(node.topology, usable))
    return [known[id(node.topology), node.allowed] for node in nodes]


def _resources(node: Node, request: NodeRequest) -> int:
    """How many ranks `ppr` places on a node."""
    map_by = request.map_by
    if map_by is None or map_by.over == "node":
        return map_by.per if map_by else 0
    kind = "pu" if map_by.over == "hwthread" else map_by.over
    usable = usable_cpus(node.topology, node.allowed, request)
    return map_by.per * max(1, len(node.topology.spanned(kind, usable)))


def _numbers(counts: Sequence[int], *, by_node: bool) -> list[tuple[int, ...]]:
    """The rank numbers of each node: consecutive, or dealt in turn."""
    if not by_node:
        ends = accumulate(counts)
        return [tuple(range(end - n, end)) for end, n in zip(ends, counts, strict=True)]
    numbers: list[list[int]] = [[] for _ in counts]
    rank = 0
    for turn in range(max(counts)):
        for mine, count in zip(numbers, counts, strict=True):
            if turn < count:
                mine.append(rank)
                rank += 1
    return [tuple(mine) for mine in numbers]


def _plan(node: Node, request: NodeRequest) -> NodePlan:
    try:
        return plan_node(node.topology, node.allowed, request)
    except PlanError as error:
        raise PlanError(f"Node {node.name}: {error.message}", error.hint) from error


def _renumbered(plan: NodePlan, ranks: Sequence[int]) -> NodePlan:
    return NodePlan(
        tuple(
            RankPlacement(rank, p.cpus, p.threads, p.places, p.gpus, p.memory)
            for rank, p in zip(ranks, plan.placements, strict=True)
        ),
        plan.source,
    )
