"""Map ranks to CPUs: deal them over objects, take CPUs there, order them, bind them.

Every function here works on counts and sets; which rank gets which place is the last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cpusets.axes import MapBy, RankBy
from cpusets.cpuset import CpuSet, union
from cpusets.errors import PlanError
from cpusets.localities import objects_of, require
from cpusets.request import NodeRequest
from cpusets.shares import memory_domains, split, spread
from cpusets.topology import Topology

# Mappings that take consecutive units and so need to know how many a rank takes.
_PACKED = ("slot", "node", "core", "hwthread")


@dataclass(frozen=True, slots=True)
class Site:
    """A place for one rank: the number of the object it was dealt to, and its CPUs there."""

    group: int
    cpus: CpuSet


def sites(topology: Topology, usable: CpuSet, request: NodeRequest) -> tuple[Site, ...]:
    """A site for each rank of the request, in rank order. Raises PlanError if they do not fit."""
    if request.map_by is None:
        found = _auto(topology, usable, request)
    elif request.map_by.kind in _PACKED:
        found = _packed(topology, usable, request)
    else:
        found = _dealt(topology, usable, request, request.map_by)
    bound = (Site(s.group, bind(topology, usable, s.cpus, request)) for s in found)
    return tuple(_ordered(tuple(bound), request.order))


def bind(topology: Topology, usable: CpuSet, cpus: CpuSet, request: NodeRequest) -> CpuSet:
    """The mask of a rank that was given `cpus`, by what the request binds to.

    An exact number of cores is widened to all objects that it touches; a share is cut or widened
    to the one object that it has most of.
    """
    target = request.bind_to
    if target is None or target in ("core", "hwthread"):
        return cpus
    if target == "none":
        return usable
    require(topology, target, "bind ranks to")
    touched = [part for part in topology.parts(target, usable) if part & cpus]
    if per_rank(request) is not None:
        return union(touched)
    return max(touched, key=lambda part: len(part & cpus))


def units_of(topology: Topology, cpus: CpuSet, request: NodeRequest) -> tuple[CpuSet, ...]:
    """What the request counts in: the cores of `cpus`, or its PUs."""
    return topology.parts(request.unit, cpus)


def per_rank(request: NodeRequest) -> int | None:
    """Units that every rank gets exactly, or None where ranks share out what is there."""
    if request.cpus_per_rank is not None:
        return request.cpus_per_rank
    packed = request.map_by is not None and request.map_by.kind in _PACKED
    if packed or request.bind_to in ("core", "hwthread"):
        return request.threads or 1
    return None


def _auto(topology: Topology, usable: CpuSet, request: NodeRequest) -> list[Site]:
    """What an expert does: spread over NUMA nodes, whole cores and caches."""
    need = per_rank(request)
    count = len(request.ranks)
    if need is None:
        return [Site(i, share) for i, share in enumerate(split(topology, usable, count))]
    homes = memory_domains(topology, usable)
    room = [len(units_of(topology, home, request)) // need for home in homes]
    if count > sum(room):
        return _packed(topology, usable, request)
    found = []
    for group, (home, ranks) in enumerate(zip(homes, spread(room, count), strict=True)):
        for share in _roomy(topology, home, ranks, need, request):
            units = units_of(topology, share, request)
            found.append(Site(group, union(units[:need])))
    return found


def _roomy(
    topology: Topology, home: CpuSet, count: int, need: int, request: NodeRequest
) -> Sequence[CpuSet]:
    """Shares of at least `need` units within one NUMA node, spread over its caches if possible."""
    if not count:
        return ()
    shares = split(topology, home, count)
    if all(len(units_of(topology, share, request)) >= need for share in shares):
        return shares
    units = units_of(topology, home, request)
    return [union(units[i * need : (i + 1) * need]) for i in range(count)]


def _packed(topology: Topology, usable: CpuSet, request: NodeRequest) -> list[Site]:
    """Consecutive units for consecutive ranks, from the first CPU on."""
    need = per_rank(request) or 1
    units = units_of(topology, usable, request)
    room = len(units) // need
    count = len(request.ranks)
    if room == 0 or (count > room and not request.oversubscribe):
        raise _too_many(request, len(units), need)
    starts = [(i % room) * need for i in range(count)]
    return [Site(start, union(units[start : start + need])) for start in starts]


def _dealt(topology: Topology, usable: CpuSet, request: NodeRequest, map_by: MapBy) -> list[Site]:
    """Ranks dealt over objects, each taking its CPUs in its object."""
    objects = objects_of(topology, usable, map_by)
    need = per_rank(request)
    sizes = [len(units_of(topology, obj, request)) for obj in objects]
    if need:
        room = [size // need for size in sizes]
    else:  # a core each as long as there are enough, then a hardware thread each
        enough = len(request.ranks) <= sum(sizes)
        room = sizes if enough else [len(obj) for obj in objects]
    stretch = request.oversubscribe and any(room)
    if map_by.kind != "ppr" and len(request.ranks) > sum(room) and not stretch:
        raise _too_many(request, sum(sizes if need else room), need)
    turns = _turns(map_by, room, request)
    counts = [turns.count(group) for group in range(len(objects))]
    places = [
        inside(topology, obj, n, need, request) for obj, n in zip(objects, counts, strict=True)
    ]
    taken = [0] * len(objects)
    found = []
    for group in turns:
        found.append(Site(group, places[group][taken[group]]))
        taken[group] += 1
    return found


def _turns(map_by: MapBy, room: Sequence[int], request: NodeRequest) -> list[int]:
    """The object of each rank in the order of mapping."""
    count = len(request.ranks)
    if map_by.kind == "ppr":
        return _per_resource(map_by, room, request)
    if map_by.kind == "dist":
        order = [group for group, size in enumerate(room) for _ in range(size)]
        return [order[i % len(order)] for i in range(count)]
    turns: list[int] = []
    left = list(room)
    while len(turns) < count:
        if not any(left):
            left = list(room)
        open_groups = [group for group, size in enumerate(left) if size]
        for group in open_groups[: count - len(turns)]:
            left[group] -= 1
            turns.append(group)
    return turns


def _per_resource(map_by: MapBy, room: Sequence[int], request: NodeRequest) -> list[int]:
    count, per = len(request.ranks), map_by.per
    if count > per * len(room):
        raise PlanError(
            f"{map_by} places at most {per * len(room)} ranks on this node, not {count}.",
            f"The node has {len(room)} of these: ask for at least "
            f"{-(-count // len(room))} per {map_by.over}, or for fewer ranks.",
        )
    turns = [group for group in range(len(room)) for _ in range(per)][:count]
    crowded = [g for g in set(turns) if turns.count(g) > room[g]]
    if crowded and (not request.oversubscribe or not room[crowded[0]]):
        raise PlanError(
            f"{map_by} puts {per} ranks on {map_by.over} {crowded[0]}, which has room for "
            f"{room[crowded[0]]}.",
            "Ask for fewer ranks or CPUs per rank, or for oversubscription.",
        )
    return turns


def inside(
    topology: Topology, obj: CpuSet, count: int, need: int | None, request: NodeRequest
) -> Sequence[CpuSet]:
    """The CPUs of `count` ranks within one object. Raises PlanError if they do not fit."""
    if not count:
        return ()
    units = topology.parts("pu", obj) if need is None else units_of(topology, obj, request)
    room = len(units) // (need or 1)
    if room == 0 or (count > room and not request.oversubscribe):
        raise _too_many(request, len(units), need)
    if need is None:
        return split(topology, obj, count) if count <= room else [obj] * count
    return [union(units[(i % room) * need : (i % room + 1) * need]) for i in range(count)]


def _ordered(found: Sequence[Site], rank_by: RankBy) -> list[Site]:
    if rank_by is RankBy.FILL:
        return sorted(found, key=lambda site: site.group)
    if rank_by is RankBy.SPAN:
        rounds: dict[int, int] = {}
        keys = []
        for site in found:
            rounds[site.group] = rounds.get(site.group, -1) + 1
            keys.append((rounds[site.group], site.group))
        return [found[i] for i in sorted(range(len(found)), key=keys.__getitem__)]
    return list(found)


def _too_many(request: NodeRequest, units: int, exactly: int | None) -> PlanError:
    """`units` are CPUs where ranks share out, else what the exact number counts."""
    count, need = len(request.ranks), exactly or 1
    name = "cores" if request.unit == "core" else "hardware threads"
    if exactly is None:
        name = "CPUs"
    each = f" of {need} {name}" if need > 1 else ""
    if units < need:
        return PlanError(
            f"A rank{each} does not fit on this node, which has {units} {name} for us.",
            f"Ask for at most {units} per rank.",
        )
    return PlanError(
        f"{count} ranks{each} do not fit on {units} {name}.",
        f"Run at most {units // need} ranks here"
        + (f", with at most {units // count} {name} each" if units >= count else "")
        + ", or ask for oversubscription.",
    )
