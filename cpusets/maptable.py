"""A plan, and the difference of two plans, as tables of at most 100 columns."""

from __future__ import annotations

from collections.abc import Sequence

from cpusets.cpuset import CpuSet
from cpusets.explicit import core_numbers
from cpusets.job import JobPlan
from cpusets.outputs import numa_of
from cpusets.plan import RankPlacement
from cpusets.tables import Column, render
from cpusets.topology import Topology
from cpusets.verdict import judge

NUMBERS = "CPUs and NUMA nodes by the operating system's numbers; cores counted in machine order."


def plan_table(plan: JobPlan) -> str:
    """Rank, node, CPUs, cores, NUMA nodes, threads, GPUs and a verdict, in rank order."""
    topologies = {planned.node.name: planned.node.topology for planned in plan.nodes}
    others = {
        planned.node.name: {p.rank: p.cpus for p in planned.plan.placements}
        for planned in plan.nodes
    }
    with_gpus = any(p.gpus for _, p in plan.placements())
    columns = [
        Column("rank", right=True),
        Column("node"),
        Column("CPUs"),
        Column("cores"),
        Column("NUMA"),
        Column("threads", right=True),
        *([Column("GPU")] if with_gpus else []),
        Column("verdict"),
    ]
    rows = []
    for name, p in plan.placements():
        topology = topologies[name]
        cells = [str(p.rank), name, str(p.cpus), _cores(topology, p.cpus)]
        cells += [str(CpuSet.of(numa_of(topology, p))), str(p.threads)]
        if with_gpus:
            cells.append(", ".join(f"{gpu.name} {gpu.pci or ''}".strip() for gpu in p.gpus))
        cells.append(_verdict(topology, p, others[name]))
        rows.append(cells)
    return render(columns, rows) + NUMBERS + "\n"


def diff_table(before: JobPlan, after: JobPlan) -> str:
    """The ranks whose node, CPUs, threads or GPUs differ, and how many stay as they are."""
    old = {p.rank: (node, p) for node, p in before.placements()}
    new = {p.rank: (node, p) for node, p in after.placements()}
    rows: list[Sequence[str]] = []
    for rank in sorted(old.keys() | new.keys()):
        left, right = _told(old.get(rank)), _told(new.get(rank))
        if left != right:
            rows.append((str(rank), left, right))
    same = len(old.keys() | new.keys()) - len(rows)
    summary = f"{len(rows)} ranks differ, {same} are the same.\n"
    if not rows:
        return summary
    return render([Column("rank", right=True), Column("first"), Column("second")], rows) + summary


def _told(entry: tuple[str, RankPlacement] | None) -> str:
    if entry is None:
        return "absent"
    node, p = entry
    gpus = f" {'+'.join(gpu.name for gpu in p.gpus)}" if p.gpus else ""
    return f"{node}: {p.cpus}, {p.threads} threads{gpus}"


def _cores(topology: Topology, cpus: CpuSet) -> str:
    whole = core_numbers(topology, cpus)
    if whole is not None:
        return str(whole)
    part = CpuSet.of(core.logical_index for core in topology.spanned("core", cpus))
    return f"{part} (part)"


def _verdict(topology: Topology, p: RankPlacement, masks: dict[int, CpuSet]) -> str:
    others = {rank: cpus for rank, cpus in masks.items() if rank != p.rank}
    verdict = judge(
        p.cpus, p.cpus, threads=p.threads, topology=topology, others=others, gpus=p.gpus
    )
    return str(verdict)
