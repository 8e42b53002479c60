"""The CPUs of this node's ranks: what the launcher bound, or a share of what it gave."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from cpusets import CpuSet, CpusetsError, NodePlan, NodeRequest, RankPlacement, Topology, plan_node
from shim.agent.context import LaunchContext
from shim.errors import ShimError


@dataclass(frozen=True)
class Placement:
    """The plan of one node, with the topology that it was made on."""

    topology: Topology
    plan: NodePlan
    allowed: CpuSet

    def of(self, rank: int) -> RankPlacement:
        return next(one for one in self.plan.placements if one.rank == rank)

    def cpusets(self) -> dict[int, CpuSet]:
        return {one.rank: one.cpus for one in self.plan.placements}


def load_topology() -> Topology:
    """This machine's.

    Raises:
        ShimError: hwloc is missing or cannot read it.
    """
    try:
        return Topology.from_system()
    except CpusetsError as error:
        raise ShimError(error.message, error.hint) from error


def launcher_masks(
    context: LaunchContext, seen: Mapping[int, CpuSet]
) -> Mapping[int, CpuSet] | None:
    """The masks that the launcher gave each rank, or None where it bound nothing.

    *seen* are the front-ends' own masks, needed only where the environment does not say. Equal
    masks for several ranks are one share that they were given together: nobody was bound.
    """
    if context.masks is not None:
        return context.masks
    if context.unbound or (len(seen) > 1 and len(set(seen.values())) == 1):
        return None
    return seen


def plan_placement(
    topology: Topology,
    allowed: CpuSet,
    ranks: tuple[int, ...],
    given: Mapping[int, CpuSet] | None,
    threads: int | None,
) -> Placement:
    """Plan this node.

    Raises:
        ShimError: the masks and this machine do not fit together.
    """
    request = NodeRequest(ranks=ranks, given=given, threads=threads)
    try:
        return Placement(topology, plan_node(topology, allowed, request), allowed)
    except CpusetsError as error:
        raise ShimError(error.message, error.hint) from error


def widen_own_affinity(cpus: CpuSet) -> None:
    """Let the agent, and the container's file system daemon that it starts, use all CPUs of the
    node's ranks.

    The agent inherits the mask of the one rank that started it, and would compete with that rank
    for its CPU. A kernel that refuses leaves the mask as it is: that costs speed, nothing else.
    """
    try:
        os.sched_setaffinity(0, cpus)
    except OSError:
        return
