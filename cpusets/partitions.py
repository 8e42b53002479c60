"""Divide a node's CPUs among runtimes, and change the division while they run.

The functions are pure: a change is a new table and the steps that lead to it. docs/mapping.md
states what holds at every moment (P1–P4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cpusets.cpuset import EMPTY, CpuSet, union
from cpusets.errors import PlanError
from cpusets.partition_spec import PartitionSpec
from cpusets.shares import cores_of, pus_of
from cpusets.topology import Topology


@dataclass(frozen=True, slots=True)
class Partition:
    """A named share. `inherits` means it has no CPUs of its own and binds nobody."""

    name: str
    cpus: CpuSet
    exclusive: bool = True
    inherits: bool = False


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """All partitions of one node's allocation."""

    allocation: CpuSet
    partitions: tuple[Partition, ...]

    def get(self, name: str) -> Partition:
        """The partition of that name. Raises PlanError naming those that exist."""
        for partition in self.partitions:
            if partition.name == name:
                return partition
        names = ", ".join(p.name for p in self.partitions) or "none"
        raise PlanError(f"There is no partition {name!r}.", f"The partitions are: {names}.")

    @property
    def free(self) -> CpuSet:
        """CPUs of the allocation that are in no partition."""
        return self.allocation - union(p.cpus for p in self.partitions)

    def replaced(self, name: str, cpus: CpuSet) -> PartitionTable:
        """The table with other CPUs for one partition."""
        changed = tuple(
            Partition(p.name, cpus, p.exclusive, p.inherits) if p.name == name else p
            for p in self.partitions
        )
        return PartitionTable(self.allocation, changed)


@dataclass(frozen=True, slots=True)
class Step:
    """One change of one partition; its processes are to be bound to `cpus` now."""

    name: str
    cpus: CpuSet


def carve(topology: Topology, allocation: CpuSet, specs: Sequence[PartitionSpec]) -> PartitionTable:
    """Divide the allocation as declared. Raises PlanError where it does not suffice.

    Places that are named come first, then counts, percentages (of the allocation's cores,
    rounded, at least one), then the rest. Shared partitions overlap each other only.
    """
    usable = allocation & topology.complete
    free, shared = usable, EMPTY
    found: dict[str, CpuSet] = {}
    for spec in sorted(specs, key=lambda spec: (spec.shared, _ORDER.index(spec.kind))):
        if spec.kind == "inherit":
            found[spec.name] = EMPTY
            continue
        pool = free | shared if spec.shared else free
        cpus = _taken(topology, usable, pool, spec)
        found[spec.name] = cpus
        free = free - cpus
        if spec.shared:
            shared |= cpus
    return PartitionTable(
        usable,
        tuple(Partition(s.name, found[s.name], not s.shared, s.kind == "inherit") for s in specs),
    )


_ORDER = ("smt", "at", "cores", "cpus", "percent", "rest", "inherit")


def _taken(topology: Topology, usable: CpuSet, pool: CpuSet, spec: PartitionSpec) -> CpuSet:
    if spec.kind == "rest":
        cpus = pool
    elif spec.kind == "smt":
        cores = (pus_of(topology, core.cpus) for core in topology.cores)
        number = int(spec.number)
        cpus = union(pus[number] for pus in cores if number < len(pus)) & pool
    elif spec.kind == "at":
        cpus = _located(topology, usable, pool, spec)
    else:
        cpus = _counted(topology, usable, pool, spec)
    if not cpus:
        raise PlanError(
            f"Nothing is left for partition {spec.name}.",
            "Make another partition smaller, or this one shared or inherit.",
        )
    return cpus


def _located(topology: Topology, usable: CpuSet, pool: CpuSet, spec: PartitionSpec) -> CpuSet:
    objects = topology.of_kind("pu" if spec.level == "hwthread" else spec.level)
    if spec.where.last() >= len(objects):
        raise PlanError(
            f"Partition {spec.name}: there is no {spec.level} {spec.where.last()}.",
            f"This node has {len(objects)}, counted from 0.",
        )
    wanted = union(objects[i].cpus for i in spec.where) & usable
    if not wanted <= pool:
        raise PlanError(
            f"Partition {spec.name} wants CPUs {wanted - pool}, which another partition has.",
            "Choose another place.",
        )
    return wanted


def _counted(topology: Topology, usable: CpuSet, pool: CpuSet, spec: PartitionSpec) -> CpuSet:
    kind = "pu" if spec.kind == "cpus" else "core"
    units = topology.parts(kind, pool)
    number = int(spec.number)
    if spec.kind == "percent":
        number = max(1, round(len(cores_of(topology, usable)) * spec.number / 100))
    if number > len(units):
        what = "hardware threads" if kind == "pu" else "cores"
        raise PlanError(
            f"Partition {spec.name} wants {number} {what}, but {len(units)} are left.",
            f"Ask for at most {len(units)}, or make another partition smaller.",
        )
    return union(units[-number:] if spec.from_last else units[:number])


def resize(
    topology: Topology,
    table: PartitionTable,
    name: str,
    cores: int,
    *,
    donors: Sequence[str] = (),
) -> tuple[PartitionTable, tuple[Step, ...]]:
    """Give an exclusive partition `cores` cores; raises PlanError where that is impossible.

    It grows from free cores first, then from the donors in order, each of which keeps one; it
    shrinks from its end. The steps take before they give, so no CPU is ever in two partitions.
    """
    partition = table.get(name)
    if cores < 1 or not partition.exclusive or partition.inherits:
        raise PlanError(
            f"Partition {name} cannot be given {cores} cores.",
            "Only exclusive partitions are resized, and to at least 1 core.",
        )
    have = cores_of(topology, partition.cpus)
    if cores <= len(have):
        kept = union(have[:cores])
        steps = (Step(name, kept),) if kept != partition.cpus else ()
        return table.replaced(name, kept), steps
    return _grown(topology, table, partition, cores - len(have), donors)


def _grown(
    topology: Topology,
    table: PartitionTable,
    partition: Partition,
    missing: int,
    donors: Sequence[str],
) -> tuple[PartitionTable, tuple[Step, ...]]:
    gained = list(cores_of(topology, table.free)[:missing])
    steps: list[Step] = []
    for donor_name in donors:
        donor = table.get(donor_name)
        spare = cores_of(topology, donor.cpus)[1:] if donor.exclusive else ()
        wanted = missing - len(gained)
        if donor_name != partition.name and spare and wanted > 0:
            given = spare[-wanted:]
            steps.append(Step(donor_name, donor.cpus - union(given)))
            table = table.replaced(donor_name, steps[-1].cpus)
            gained.extend(given)
    if len(gained) < missing:
        most = len(cores_of(topology, partition.cpus)) + len(gained)
        raise PlanError(
            f"Partition {partition.name} cannot grow by {missing} cores: {len(gained)} can be had.",
            f"Ask for at most {most} cores, or name more donors.",
        )
    cpus = partition.cpus | union(gained)
    steps.append(Step(partition.name, cpus))
    return table.replaced(partition.name, cpus), tuple(steps)


def add(
    topology: Topology, table: PartitionTable, name: str, cores: int, *, donors: Sequence[str] = ()
) -> tuple[PartitionTable, tuple[Step, ...]]:
    """Make room for a runtime that announces itself while others run. Raises PlanError."""
    if any(partition.name == name for partition in table.partitions) or cores < 1:
        raise PlanError(
            f"A partition {name} of {cores} cores cannot be added.",
            "Choose a new name and at least 1 core.",
        )
    return _grown(
        topology,
        PartitionTable(table.allocation, (*table.partitions, Partition(name, EMPTY))),
        Partition(name, EMPTY),
        cores,
        donors,
    )


def remove(table: PartitionTable, name: str) -> PartitionTable:
    """The table without a partition whose processes have ended; its CPUs become free."""
    table.get(name)
    return PartitionTable(table.allocation, tuple(p for p in table.partitions if p.name != name))
