"""A job on several nodes: deal its ranks to the nodes, then plan every node by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cpusets.cpuset import CpuSet
from cpusets.dealing import Capacity, capacity, deal
from cpusets.errors import PlanError
from cpusets.plan import NodePlan, RankPlacement, plan_node
from cpusets.rankfile import RankLine, cpus_of, lines_by_node
from cpusets.request import NodeRequest, check
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
    check(request)
    numbers = deal(_capacities(nodes, request), ranks, request, ranks_per_node)
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
    return JobPlan(
        tuple(
            PlannedNode(node, _plan(node, _explicit(node.topology, mine, request)))
            for node, mine in zip(nodes, lines_by_node(lines, [n.name for n in nodes]), strict=True)
        )
    )


def _explicit(topology: Topology, lines: Sequence[RankLine], request: NodeRequest) -> NodeRequest:
    masks = {line.rank: cpus_of(line, topology) for line in lines}
    return replace(request, ranks=tuple(masks), explicit=masks)


def _capacities(nodes: Sequence[Node], request: NodeRequest) -> list[Capacity]:
    """Nodes of one kind are measured once."""
    known: dict[tuple[int, CpuSet], Capacity] = {}
    for node in nodes:
        key = (id(node.topology), node.allowed)
        if key not in known:
            known[key] = capacity(node.topology, node.allowed, request)
    return [known[id(node.topology), node.allowed] for node in nodes]


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
