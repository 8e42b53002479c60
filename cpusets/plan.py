"""The plan: which CPUs, memory and GPUs each rank of a node gets, and where its threads sit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cpusets.cpuset import CpuSet, union
from cpusets.devices import Device
from cpusets.errors import PlanError
from cpusets.gpus import deal_gpus, nearest_gpus, sites_by_gpu
from cpusets.kinds import preferred
from cpusets.mapping import bind, sites
from cpusets.mempolicy import DEFAULT_POLICY, MemoryPolicy, policy_for
from cpusets.request import NodeRequest, check
from cpusets.shares import apportion, cores_of, memory_domains, pus_of, split
from cpusets.topology import Topology


@dataclass(frozen=True, slots=True)
class RankPlacement:
    """Where one rank sits. `places` are its threads' CPUs, one set per thread, within `cpus`.

    There are fewer places than threads only if there are fewer CPUs than threads, and none at
    all if the rank was to be bound to nothing.
    """

    rank: int
    cpus: CpuSet
    threads: int
    places: tuple[CpuSet, ...]
    gpus: tuple[Device, ...] = ()
    memory: MemoryPolicy = DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class NodePlan:
    """The placements of one node's ranks, in the order of the request.

    `source` says who decided: `launcher` (its masks were kept), `explicit` (the user's list),
    `share` (the CPUs were divided here), `map` (the user's axes), `oversubscribed` (more ranks
    than CPUs, so they share them).
    """

    placements: tuple[RankPlacement, ...]
    source: str


def plan_node(topology: Topology, allowed: CpuSet, request: NodeRequest) -> NodePlan:
    """Place the request's ranks on the `allowed` CPUs of a node.

    A pure function: equal arguments give an equal plan. Raises PlanError where the request
    cannot be satisfied.
    """
    check(request)
    usable = usable_cpus(topology, allowed, request)
    if not request.ranks:
        return NodePlan((), "share")
    masks, gpus, source = _masks(topology, usable, request)
    threads = _thread_counts(topology, masks, request, source)
    placements = (
        RankPlacement(
            rank=rank,
            cpus=mask,
            threads=count,
            places=() if request.bind_to == "none" else _places(topology, mask, count),
            gpus=devices,
            memory=policy_for(topology, mask, request.memory),
        )
        for rank, mask, count, devices in zip(request.ranks, masks, threads, gpus, strict=True)
    )
    return NodePlan(tuple(placements), source)


def usable_cpus(topology: Topology, allowed: CpuSet, request: NodeRequest) -> CpuSet:
    """The CPUs that ranks may be put on: allowed, online, not reserved, within `smt`."""
    online = allowed & topology.complete
    if not online:
        raise PlanError(
            f"None of the allowed CPUs ({allowed or 'none'}) is online on this node "
            f"({topology.complete}).",
            "Check the job's CPU mask and the node's description.",
        )
    free = online - request.reserve
    if not free:
        raise PlanError(
            f"All allowed CPUs ({online}) are reserved.", "Reserve fewer, so that ranks have some."
        )
    if request.smt is None:
        return free
    return union(
        pu for core in cores_of(topology, free) for pu in pus_of(topology, core)[: request.smt]
    )


_Gpus = Sequence[tuple[Device, ...]]


def _masks(
    topology: Topology, usable: CpuSet, request: NodeRequest
) -> tuple[Sequence[CpuSet], _Gpus, str]:
    """The masks and GPUs of the ranks, in order, and who decided."""
    settled = _settled(topology, usable, request)
    if settled is not None:
        masks, source = settled
        return masks, _nearest(topology, masks, request), source
    if request.map_by is None and request.gpus_per_rank:
        dealt = deal_gpus(topology, request)
        found = sites_by_gpu(topology, usable, request, dealt)
        bound = tuple(bind(topology, usable, site.cpus, request) for site in found)
        return bound, dealt, "share"
    usable = preferred(topology, usable, request)
    masks = tuple(site.cpus for site in sites(topology, usable, request))
    source = "share" if request.map_by is None and request.bind_to is None else "map"
    return masks, _nearest(topology, masks, request), source


def _settled(
    topology: Topology, usable: CpuSet, request: NodeRequest
) -> tuple[tuple[CpuSet, ...], str] | None:
    """Masks that are not ours to choose: the user's, the launcher's, or too many ranks."""
    if request.explicit is not None:
        return _kept(usable, request.ranks, request.explicit, "The list"), "explicit"
    if request.given is not None:
        return _kept(usable, request.ranks, request.given, "The launcher"), "launcher"
    plain = request.map_by is None and request.cpus_per_rank is None and not request.gpus_per_rank
    if plain and len(request.ranks) > len(usable):
        return _crowded(topology, usable, request), "oversubscribed"
    return None


def _kept(
    usable: CpuSet, ranks: tuple[int, ...], masks: Mapping[int, CpuSet], who: str
) -> tuple[CpuSet, ...]:
    missing = [rank for rank in ranks if rank not in masks]
    if missing:
        raise PlanError(
            f"{who} binds other ranks but not rank {missing[0]}.",
            "Bind every rank of the node, or none.",
        )
    for rank in ranks:
        if not masks[rank] & usable:
            raise PlanError(
                f"{who} gives rank {rank} CPUs {masks[rank] or '(none)'}, but this node allows "
                f"only {usable}.",
                "Give it CPUs of the job, or let the CPUs be shared out (no binding).",
            )
    return tuple(masks[rank] & usable for rank in ranks)


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


def _nearest(topology: Topology, masks: Sequence[CpuSet], request: NodeRequest) -> _Gpus:
    if not request.gpus_per_rank:
        return [()] * len(masks)
    return nearest_gpus(topology, masks, request)


def _thread_counts(
    topology: Topology, masks: Sequence[CpuSet], request: NodeRequest, source: str
) -> Iterable[int]:
    if request.threads is not None:
        return [request.threads] * len(masks)
    if source == "launcher":
        return [len(mask) for mask in masks]
    if source == "oversubscribed" or request.bind_to == "none":
        return [1] * len(masks)
    if source == "explicit":
        return [len(cores_of(topology, mask)) for mask in masks]
    # Ranks wait for the slowest: threads beyond the smallest share would bring nothing.
    per_core = request.smt or 1
    smallest = min(
        sum(min(per_core, len(core)) for core in cores_of(topology, mask)) for mask in masks
    )
    return [smallest] * len(masks)


def _places(topology: Topology, cpus: CpuSet, threads: int) -> tuple[CpuSet, ...]:
    return pus_of(topology, cpus) if threads > len(cpus) else split(topology, cpus, threads)
