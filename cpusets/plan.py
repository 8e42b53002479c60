"""The plan: which CPUs each rank of a node gets, and where its threads sit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cpusets.cpuset import CpuSet
from cpusets.errors import PlanError
from cpusets.request import NodeRequest
from cpusets.shares import apportion, cores_of, memory_domains, pus_of, split
from cpusets.topology import Topology


@dataclass(frozen=True, slots=True)
class RankPlacement:
    """Where one rank sits. `places` are its threads' CPUs, one set per thread, within `cpus`.

    There are fewer places than threads only if there are fewer CPUs than threads.
    """

    rank: int
    cpus: CpuSet
    threads: int
    places: tuple[CpuSet, ...]


@dataclass(frozen=True, slots=True)
class NodePlan:
    """The placements of one node's ranks, in the order of the request.

    `source` says who decided: `launcher` (its masks were kept), `share` (the CPUs were divided
    here), `oversubscribed` (there are more ranks than CPUs, so they share them).
    """

    placements: tuple[RankPlacement, ...]
    source: str


def plan_node(topology: Topology, allowed: CpuSet, request: NodeRequest) -> NodePlan:
    """Place the request's ranks on the `allowed` CPUs of a node.

    A pure function: equal arguments give an equal plan. Raises PlanError where the request
    cannot be satisfied.
    """
    usable = allowed & topology.complete
    if not usable:
        raise PlanError(
            f"None of the allowed CPUs ({allowed or 'none'}) is online on this node "
            f"({topology.complete}).",
            "Check the job's CPU mask and the node's description.",
        )
    _check(request)
    if request.given is not None:
        masks, source = _given(usable, request.ranks, request.given), "launcher"
    elif len(request.ranks) > len(usable):
        masks, source = _crowded(topology, usable, request), "oversubscribed"
    else:
        masks, source = split(topology, usable, max(1, len(request.ranks))), "share"
    threads = request.threads
    if threads is None and source == "share":
        # Ranks wait for the slowest: threads beyond the smallest share would bring nothing.
        threads = min(len(cores_of(topology, mask)) for mask in masks)
    elif threads is None and source == "oversubscribed":
        threads = 1
    placements = (
        _place(topology, rank, mask, len(mask) if threads is None else threads)
        for rank, mask in zip(request.ranks, masks, strict=False)
    )
    return NodePlan(tuple(placements), source)


def _check(request: NodeRequest) -> None:
    if len(set(request.ranks)) != len(request.ranks):
        raise PlanError("A rank appears twice in the request.", "Name every rank once.")
    if request.threads is not None and request.threads < 1:
        raise PlanError(f"{request.threads} threads per rank is impossible.", "Ask for at least 1.")


def _given(
    usable: CpuSet, ranks: tuple[int, ...], given: Mapping[int, CpuSet]
) -> tuple[CpuSet, ...]:
    missing = [rank for rank in ranks if rank not in given]
    if missing:
        raise PlanError(
            f"The launcher bound other ranks but not rank {missing[0]}.",
            "Bind every rank of the node, or none.",
        )
    for rank in ranks:
        if not given[rank] & usable:
            raise PlanError(
                f"Rank {rank} was given CPUs {given[rank] or '(none)'}, but this node allows "
                f"only {usable}.",
                "Give it CPUs of the job, or let the CPUs be shared out (no binding).",
            )
    return tuple(given[rank] & usable for rank in ranks)


def _crowded(topology: Topology, usable: CpuSet, request: NodeRequest) -> tuple[CpuSet, ...]:
    """More ranks than CPUs: spread them over the NUMA nodes and let each float within its own.

    Pinning several ranks to one CPU would keep the kernel from using a neighbour that idles.
    """
    if not request.oversubscribe:
        raise PlanError(
            f"{len(request.ranks)} ranks do not fit on {len(usable)} CPUs ({usable}).",
            f"Run at most {len(usable)} ranks here, or ask for oversubscription.",
        )
    nodes = memory_domains(topology, usable)
    counts = apportion([len(node) for node in nodes], len(request.ranks))
    return tuple(node for node, n in zip(nodes, counts, strict=True) for _ in range(n))


def _place(topology: Topology, rank: int, cpus: CpuSet, threads: int) -> RankPlacement:
    crowded = threads > len(cpus)
    places = pus_of(topology, cpus) if crowded else split(topology, cpus, threads)
    return RankPlacement(rank, cpus, threads, places)
