"""The CPUs of this node's ranks: what the launcher bound, or a share of what it gave."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cpusets import CpuSet, NodePlan, NodeRequest, RankPlacement, Topology, plan_node
from cpusets.options import request_on
from shim.agent.context import LaunchContext
from shim.errors import ShimError
from shim.mapper import mapping_options, presentable
from shim.mapping_words import MappingWords

if TYPE_CHECKING:
    from cpusets.rankfile import RankLine
    from shim.agent.shares import Declared


@dataclass(frozen=True)
class Placement:
    """The plan of one node, with the topology that it was made on."""

    topology: Topology
    plan: NodePlan
    allowed: CpuSet
    declared: Declared | None = None
    """The partitions that ranks were planned in."""

    def of(self, rank: int) -> RankPlacement:
        return next(one for one in self.plan.placements if one.rank == rank)

    def cpusets(self) -> dict[int, CpuSet]:
        return {one.rank: one.cpus for one in self.plan.placements}


def load_topology(*, devices: bool) -> Topology:
    """This machine's, with its GPUs and NICs if *devices*.

    Raises:
        ShimError: hwloc is missing or cannot read it.
    """
    with presentable():
        return Topology.from_system(devices=devices)


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


def node_request(
    topology: Topology,
    allowed: CpuSet,
    words: MappingWords,
    ranks: tuple[int, ...] = (),
    lines: Sequence[RankLine] | None = None,
) -> NodeRequest:
    """What the user's words mean on this node; *lines* are those of a rank file for *ranks*.

    Raises:
        ShimError: a word is wrong, or contradicts another.
    """
    with presentable():
        request = request_on(mapping_options(words), topology, allowed, ranks)
        if lines is None:
            return request
        from cpusets.rankfile import cpus_of  # most steps have none

        return replace(request, explicit={line.rank: cpus_of(line, topology) for line in lines})


def plan_placement(
    topology: Topology,
    allowed: CpuSet,
    request: NodeRequest,
    partitions: str | None = None,
    homes: Mapping[int, str | None] | None = None,
) -> Placement:
    """Plan this node.

    Args:
        partitions: their declaration (YAML), if there are any.
        homes: the partition that each rank asks for; the first declared one for the others.

    Raises:
        ShimError: the masks and this machine do not fit together.
    """
    asked = {rank: name for rank, name in (homes or {}).items() if name is not None}
    with presentable():
        if partitions is not None:
            return _in_partitions(topology, allowed, request, partitions, asked)
        for name in asked.values():
            raise undeclared(name)
        return Placement(topology, plan_node(topology, allowed, request), allowed)


def _in_partitions(
    topology: Topology,
    allowed: CpuSet,
    request: NodeRequest,
    partitions: str,
    asked: Mapping[int, str],
) -> Placement:
    from cpusets.partition_spec import parse_partitions  # most steps have none
    from cpusets.partitions import carve
    from shim.agent.shares import Declared, plan_shares

    specs = parse_partitions(partitions)
    names = {rank: asked.get(rank, specs[0].name) for rank in request.ranks}
    declared = Declared(carve(topology, allowed, specs), names)
    return Placement(topology, plan_shares(topology, declared, request), allowed, declared)


def undeclared(name: str) -> ShimError:
    """A partition is asked for where none exists."""
    return ShimError(
        f"There is no partition {name!r}: none is declared.",
        "Declare them with --partitions where the step starts.",
    )


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
