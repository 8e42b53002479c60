"""The shares of this node's CPUs that runtimes have, who is in them, and their change.

The table changes step by step with the processes: a share that grows gets CPUs only after those
that gave them up were seen to have left them (docs/mapping.md, P1–P4).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cpusets import CpuSet, NodePlan, NodeRequest, RankPlacement, Topology, plan_node
from cpusets.cgroups import CpusetGroup
from cpusets.errors import BindingError
from cpusets.following import move_process, note_seats
from cpusets.partition_spec import parse_partition
from cpusets.partitions import PartitionTable, Step, resize
from cpusets.shares import cores_of
from shim.errors import ShimError
from shim.process_tree import family

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Declared:
    """The shares as planned: the table, and which share each local rank lives in."""

    table: PartitionTable
    homes: Mapping[int, str]


def plan_shares(topology: Topology, declared: Declared, request: NodeRequest) -> NodePlan:
    """Plan each share's ranks within it, by the user's axes.

    Raises:
        PlanError: they do not fit.
    """
    found: dict[int, RankPlacement] = {}
    for name in dict.fromkeys(declared.homes.values()):
        ranks = tuple(rank for rank in request.ranks if declared.homes[rank] == name)
        mine = replace(request, ranks=ranks, given=None)
        plan = plan_node(topology, share_cpus(declared.table, name), mine)
        found |= {one.rank: one for one in plan.placements}
    return NodePlan(tuple(found[rank] for rank in request.ranks), "partition")


def share_cpus(table: PartitionTable, name: str) -> CpuSet:
    """The CPUs of a share; one that inherits has those of the whole allocation."""
    share = table.get(name)
    return table.allocation if share.inherits else share.cpus


@dataclass
class _Member:
    home: str
    placement: RankPlacement
    seats: dict[int, int | None] = field(default_factory=dict)


class Shares:
    """The shares of a node while its ranks run."""

    def __init__(
        self,
        topology: Topology,
        declared: Declared,
        plan: NodePlan,
        groups: Mapping[str, CpusetGroup],
    ) -> None:
        self._topology = topology
        self.table = declared.table
        self._homes = dict(declared.homes)
        self._plans = {one.rank: one for one in plan.placements}
        self._groups = groups
        self._members: dict[int, _Member] = {}

    def place(self, rank: int, name: str | None) -> tuple[str, RankPlacement]:
        """Where a process of *rank* goes that asks for share *name*, and the share it is in.

        In its own share a rank has its planned part, in another one all of it. In a share that
        inherits, a process has the CPUs of the rank that it belongs to.

        Raises:
            PlanError: there is no such share.
        """
        home = self._homes[rank]
        if name is None or name == home or self.table.get(name).inherits:
            return home, self._plans[rank]
        return name, self._whole(rank, share_cpus(self.table, name))

    def enter(self, pid: int, home: str, placement: RankPlacement) -> None:
        """A process starts there."""
        self._members[pid] = _Member(home, placement)
        group = self._groups.get(home)
        if group is not None:
            try:
                group.attach(pid)
            except BindingError as error:
                log.info("process %d stays outside its control group: %s", pid, error.message)

    def arrived(self, pid: int, effective: CpuSet) -> None:
        """It has bound itself to what its ticket said: a change that came meanwhile is made up.

        Raises:
            BindingError: the kernel refuses.
        """
        member = self._members.get(pid)
        if member is not None and not effective <= member.placement.cpus:
            for one in self._processes(pid):
                move_process(one, member.placement, member.placement, member.seats)

    def leave(self, pid: int) -> None:
        """It has ended."""
        self._members.pop(pid, None)

    def resize(self, name: str, text: str, donors: Sequence[str]) -> None:
        """Give a share another size: `3` cores or `50%` of the allocation's.

        Raises:
            PlanError: it cannot be had. BindingError: the kernel refuses.
            ShimError: *text* is no size.
        """
        cores = self._cores(name, text)
        _, steps = resize(self._topology, self.table, name, cores, donors=donors)
        for step in steps:
            self._carry_out(step)

    def _cores(self, name: str, text: str) -> int:
        spec = parse_partition(name, int(text) if text.isdecimal() else text)
        if spec.kind == "cores":
            return int(spec.number)
        if spec.kind == "percent":
            whole = len(cores_of(self._topology, self.table.allocation))
            return max(1, round(whole * spec.number / 100))
        raise ShimError(
            f"{text!r} is no size of a share that has processes.", "Write a number of cores, or N%."
        )

    def _carry_out(self, step: Step) -> None:
        here = {pid: one for pid, one in self._members.items() if one.home == step.name}
        group = self._groups.get(step.name)
        if group is not None:
            for pid, member in here.items():
                for one in self._processes(pid):
                    note_seats(one, member.placement, member.seats)
            group.resize(step.cpus)
        self._plans |= self._replanned(step)
        for pid, member in here.items():
            self._move(pid, member, step)
        self.table = self.table.replaced(step.name, step.cpus)

    def _replanned(self, step: Step) -> dict[int, RankPlacement]:
        """The share's ranks, divided anew by the mapper's own rules with as many threads."""
        old = {r: self._plans[r] for r, home in self._homes.items() if home == step.name}
        if not old:
            return {}
        threads = next(iter(old.values())).threads
        plan = plan_node(self._topology, step.cpus, NodeRequest(tuple(old), threads=threads))
        return {one.rank: _like(old[one.rank], one, step.cpus) for one in plan.placements}

    def _move(self, pid: int, member: _Member, step: Step) -> None:
        rank = member.placement.rank
        if self._homes.get(rank) == step.name:
            target = self._plans[rank]
        else:
            target = self._whole(rank, step.cpus)
        for one in self._processes(pid):
            used = move_process(one, member.placement, target, member.seats)
            if not used <= step.cpus:
                raise BindingError(
                    f"Process {one} may still use CPUs {used - step.cpus}, which partition "
                    f"{step.name} was to leave.",
                    "Look for what binds its threads, and try again.",
                )
        member.placement = target

    def _processes(self, pid: int) -> Iterator[int]:
        """The member and what it started, less what is a member by itself."""
        return (one for one in family(pid) if one == pid or one not in self._members)

    def _whole(self, rank: int, cpus: CpuSet) -> RankPlacement:
        return plan_node(self._topology, cpus, NodeRequest((rank,))).placements[0]

    def describe(self) -> list[tuple[str, str, str, str]]:
        """(name, CPUs, what kind of share, its processes) of each share."""
        return [
            (
                share.name,
                str(share.cpus) or "-",
                "inherits" if share.inherits else "exclusive" if share.exclusive else "shared",
                " ".join(str(p) for p, m in self._members.items() if m.home == share.name) or "-",
            )
            for share in self.table.partitions
        ]


def _like(old: RankPlacement, new: RankPlacement, share: CpuSet) -> RankPlacement:
    """A rank that floated floats on; its devices and memory policy stay."""
    kept = replace(new, gpus=old.gpus, memory=old.memory)
    return kept if old.places else replace(kept, cpus=share, places=())
