"""Divide CPUs into contiguous shares that follow the hardware: the arithmetic of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from cpusets.cpuset import CpuSet, union
from cpusets.topology import Topology

# Crossing one of these costs remote memory accesses: a share leaves one only if it is larger.
_MEMORY_LEVELS = ("package", "numa")
# Crossing one of these costs cache misses: shares follow them where none gets smaller by it.
_CACHE_LEVELS = ("die", "l3", "l2")


@dataclass(frozen=True)
class _Division:
    """Ways to divide a domain: its parts, and how many shares fall into each."""

    parts: tuple[CpuSet, ...]
    counts: tuple[int, ...]


def split(topology: Topology, cpus: CpuSet, count: int) -> tuple[CpuSet, ...]:
    """Divide `cpus` into `count` non-empty disjoint shares, in the machine's order.

    Whole cores as long as there are enough; no share spans two packages or NUMA nodes unless
    it takes all of one; caches are kept whole where that makes no share smaller. `count` must
    be between 1 and the number of CPUs. Some CPUs may be left over on uneven machines.
    """
    if not 1 <= count <= len(cpus):
        raise ValueError(f"cannot divide {len(cpus)} CPUs into {count} shares")
    levels = [
        *_outermost_first(topology, cpus, _MEMORY_LEVELS),
        *_outermost_first(topology, cpus, _CACHE_LEVELS),
    ]
    return tuple(_split(topology, cpus, count, levels))


def _outermost_first(topology: Topology, cpus: CpuSet, levels: Sequence[str]) -> list[str]:
    """Machines nest differently: packages in a NUMA node, dies in an L3 or L3s in a die."""
    return sorted(levels, key=lambda level: len(topology.parts(level, cpus)))


def domains(topology: Topology, cpus: CpuSet, levels: Sequence[str]) -> tuple[CpuSet, ...]:
    """The smallest domains of the given levels within `cpus`, in the machine's order."""
    found = [cpus]
    for level in levels:
        found = [part for domain in found for part in topology.parts(level, domain)]
    return tuple(found)


def memory_domains(topology: Topology, cpus: CpuSet) -> tuple[CpuSet, ...]:
    """`cpus` cut at the borders of packages and NUMA nodes, in the machine's order."""
    return domains(topology, cpus, _MEMORY_LEVELS)


def cores_of(topology: Topology, cpus: CpuSet) -> tuple[CpuSet, ...]:
    """The cores of `cpus`, each cut down to the CPUs in it."""
    return topology.parts("core", cpus)


def pus_of(topology: Topology, cpus: CpuSet) -> tuple[CpuSet, ...]:
    """The single PUs of `cpus`, siblings of a core next to each other."""
    return topology.parts("pu", cpus)


def _split(topology: Topology, cpus: CpuSet, count: int, levels: Sequence[str]) -> list[CpuSet]:
    if count == 1:
        return [cpus]
    for position, level in enumerate(levels):
        division = _divide(topology, cpus, count, level)
        if division is not None:
            rest = levels[position + 1 :]
            pairs = zip(division.parts, division.counts, strict=True)
            return [s for part, n in pairs if n for s in _split(topology, part, n, rest)]
    units = cores_of(topology, cpus)
    if count > len(units):
        return _split_cores(topology, units, count)
    return [union(group) for group in _even(units, count)]


def _divide(topology: Topology, cpus: CpuSet, count: int, level: str) -> _Division | None:
    """How the level divides `count` shares, or None where it should not."""
    parts = topology.parts(level, cpus)
    if len(parts) < 2:
        return None
    unit = cores_of if count <= len(cores_of(topology, cpus)) else pus_of
    weights = [len(unit(topology, part)) for part in parts]
    if count < len(parts):
        parts, weights = _grouped(parts, weights, count)
        counts = [1] * count
    else:
        counts = apportion(weights, count)
    if level in _CACHE_LEVELS:
        smallest = min(w // n for w, n in zip(weights, counts, strict=True) if n)
        if smallest < sum(weights) // count:
            return None
    return _Division(parts, tuple(counts))


def apportion(weights: Sequence[int], count: int) -> list[int]:
    """Divide `count` among parts in proportion to `weights`, by largest remainder.

    No part gets more than its weight as long as `count` is at most their sum. Ties go to the
    earlier part.
    """
    total = sum(weights)
    counts = [count * weight // total for weight in weights]
    remainders = [count * weight % total for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: -remainders[i])
    for i in order[: count - sum(counts)]:
        counts[i] += 1
    return counts


def spread(capacity: Sequence[int], count: int) -> list[int]:
    """Divide `count` in proportion to `capacity`, leaving gaps evenly where it is small.

    Two of four neighbours in pairs get 1, 0, 1, 0: one for each pair. No part gets more than
    its capacity as long as `count` is at most their sum.
    """
    total = sum(capacity)
    ends = [-(-count * passed // total) for passed in accumulate(capacity)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _grouped(
    parts: Sequence[CpuSet], weights: Sequence[int], count: int
) -> tuple[tuple[CpuSet, ...], list[int]]:
    """Join neighbouring parts into `count` groups of about equal weight."""
    groups: list[CpuSet] = []
    sums: list[int] = []
    total, passed, start = sum(weights), 0, 0
    for index in range(len(parts)):
        passed += weights[index]
        groups_after = count - len(groups) - 1
        parts_after = len(parts) - index - 1
        due = passed * count >= total * (len(groups) + 1)
        if parts_after == groups_after or (due and groups_after) or not parts_after:
            groups.append(union(parts[start : index + 1]))
            sums.append(sum(weights[start : index + 1]))
            start = index + 1
    return tuple(groups), sums


def _even(units: Sequence[CpuSet], count: int) -> list[Sequence[CpuSet]]:
    """Cut a sequence into `count` runs whose lengths differ by at most one, longer ones first."""
    size, longer = divmod(len(units), count)
    cuts = [i * size + min(i, longer) for i in range(count + 1)]
    return [units[a:b] for a, b in pairwise(cuts)]


def _split_cores(topology: Topology, cores: Sequence[CpuSet], count: int) -> list[CpuSet]:
    """More shares than cores: siblings of a core go to different shares."""
    counts = apportion([len(core) for core in cores], count)
    return [
        union(group)
        for core, n in zip(cores, counts, strict=True)
        if n
        for group in _even(pus_of(topology, core), n)
    ]
