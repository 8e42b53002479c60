"""Which rank gets which GPUs, and, when mapping by GPU, which CPUs are near them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from cpusets.cpuset import EMPTY, CpuSet
from cpusets.devices import Device
from cpusets.errors import PlanError
from cpusets.localities import far
from cpusets.mapping import Site, inside, per_rank
from cpusets.request import NodeRequest
from cpusets.shares import apportion, memory_domains, spread
from cpusets.topology import Topology


def usable_gpus(topology: Topology) -> tuple[Device, ...]:
    """The node's GPUs in the machine's order: by NUMA node, then by PCI bus id."""
    order = topology.pu_order

    def position(gpu: Device) -> tuple[int, str]:
        return min((order.get(cpu, cpu) for cpu in gpu.cpus), default=0), gpu.pci or gpu.name

    return tuple(sorted((d for d in topology.devices if d.kind == "gpu"), key=position))


def deal_gpus(topology: Topology, request: NodeRequest) -> tuple[tuple[Device, ...], ...]:
    """Each rank's GPUs, in rank order and spread over the NUMA nodes that have GPUs.

    Raises PlanError where there are not enough.
    """
    gpus, per = usable_gpus(topology), Fraction(request.gpus_per_rank)
    count = len(request.ranks)
    room = _room(gpus, per, count)
    if count > room:
        raise _too_few(topology, gpus, per, count)
    if per < 1:
        users = apportion([1] * len(gpus), count)
        return tuple((gpu,) for gpu, n in zip(gpus, users, strict=True) for _ in range(n))
    size = int(per)
    groups = _by_place(gpus)
    capacity = [len(group) // size for group in groups]
    if count > sum(capacity):  # some rank's GPUs hang at two NUMA nodes
        return tuple(gpus[i * size : (i + 1) * size] for i in range(count))
    return tuple(
        group[i * size : (i + 1) * size]
        for group, n in zip(groups, spread(capacity, count), strict=True)
        for i in range(n)
    )


def sites_by_gpu(
    topology: Topology, usable: CpuSet, request: NodeRequest, dealt: Sequence[Sequence[Device]]
) -> tuple[Site, ...]:
    """CPUs for ranks next to the GPUs they were dealt, in rank order."""
    homes = _merged([_home(topology, usable, gpus) for gpus in dealt])
    need = per_rank(request)
    taken: dict[CpuSet, list[CpuSet]] = {}
    for home in dict.fromkeys(homes):
        taken[home] = list(inside(topology, home, homes.count(home), need, request))
    return tuple(Site(home.first(), taken[home].pop(0)) for home in homes)


def nearest_gpus(
    topology: Topology, masks: Sequence[CpuSet], request: NodeRequest
) -> tuple[tuple[Device, ...], ...]:
    """GPUs for ranks whose CPUs are settled: first every rank's local ones, then the nearest."""
    gpus, per = usable_gpus(topology), Fraction(request.gpus_per_rank)
    if len(masks) > _room(gpus, per, len(masks)):
        raise _too_few(topology, gpus, per, len(masks))
    size = max(1, int(per))
    users = per.denominator if per < 1 else 1
    left = dict.fromkeys(gpus, users)
    chosen: list[list[Device]] = [[] for _ in masks]
    for local_only in (True, False):
        for mask, mine in zip(masks, chosen, strict=True):
            for gpu in _nearest_first(topology, gpus, mask):
                if len(mine) < size and left[gpu] and (gpu.cpus & mask or not local_only):
                    mine.append(gpu)
                    left[gpu] -= 1
    return tuple(tuple(mine) for mine in chosen)


def _nearest_first(topology: Topology, gpus: Sequence[Device], mask: CpuSet) -> list[Device]:
    return sorted(gpus, key=lambda gpu: (not gpu.cpus & mask, far(topology, gpu.numa, mask)))


def _room(gpus: Sequence[Device], per: Fraction, count: int) -> int:
    """How many ranks the GPUs suffice for."""
    return count if per == 0 else int(Fraction(len(gpus)) / per)


def _too_few(topology: Topology, gpus: Sequence[Device], per: Fraction, count: int) -> PlanError:
    if not gpus:
        return PlanError(
            f"{per} GPUs per rank were asked for, but hwloc's description of {topology.source} "
            "has no GPU with a compute driver.",
            "Use a description made where the GPU driver is installed (hwloc with its CUDA/NVML, "
            "RSMI or Level Zero plugin), or ask for no GPUs.",
        )
    return PlanError(
        f"{count} ranks with {per} GPUs each need {-(-per * count // 1)} GPUs; the node has "
        f"{len(gpus)}.",
        f"Run at most {_room(gpus, per, count)} ranks here, or let "
        f"{-(-count // len(gpus))} ranks share a GPU (1/{-(-count // len(gpus))} per rank).",
    )


def _by_place(gpus: Sequence[Device]) -> list[tuple[Device, ...]]:
    """GPUs grouped by the CPUs they are local to."""
    groups: dict[CpuSet, list[Device]] = {}
    for gpu in gpus:
        groups.setdefault(gpu.cpus, []).append(gpu)
    return [tuple(group) for group in groups.values()]


def _home(topology: Topology, usable: CpuSet, gpus: Sequence[Device]) -> CpuSet:
    """The usable CPUs local to a rank's GPUs, or the nearest there are."""
    local = EMPTY
    for gpu in gpus:
        local |= gpu.cpus & usable
    if local:
        return local
    domains = memory_domains(topology, usable)
    return min(domains, key=lambda cpus: far(topology, gpus[0].numa, cpus))


def _merged(homes: Sequence[CpuSet]) -> list[CpuSet]:
    """Replace homes that overlap by their union, so that ranks of both share it out."""
    merged = list(homes)
    changed = True
    while changed:
        changed = False
        for i, home in enumerate(merged):
            for other in merged:
                if home != other and home & other:
                    merged[i] = home = home | other
                    changed = True
    return merged
