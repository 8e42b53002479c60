"""The report of a running job: each rank's plan against what the kernel says now."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cpusets import CpuSet, RankReport, Topology, get_affinity, judge
from cpusets.cgroups import own_group
from cpusets.cpuset import EMPTY, union
from cpusets.errors import BindingError, CpusetsError
from cpusets.tables import Column, render
from cpusets.threads import ThreadState, busy, read_threads, thread_verdict
from shim.affinity.running import PROC, RunningRank

_INTERVAL = re.compile(r"(\d+)(?::(\d+))?")
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


def live_reports(
    ranks: Sequence[RunningRank], topology: Topology, known: Sequence[RankReport] = ()
) -> tuple[RankReport, ...]:
    """A report of each rank that still runs. `known` are reports from the start, whose plan is
    taken where the rank is among them; else the plan is what OMP_PLACES names.
    """
    plans = {(report.rank, report.host_pid): report for report in known}
    effective = {rank.pid: mask for rank in ranks if (mask := _mask(rank.pid)) is not None}
    alive = [rank for rank in ranks if rank.pid in effective]
    return tuple(
        _report(rank, topology, plans.get((rank.rank, rank.pid)), alive, effective)
        for rank in alive
    )


def _report(
    rank: RunningRank,
    topology: Topology,
    known: RankReport | None,
    alive: Sequence[RunningRank],
    effective: Mapping[int, CpuSet],
) -> RankReport:
    mine = effective[rank.pid]
    planned = known.planned if known else places_of(rank.env.get("OMP_PLACES", "")) or mine
    threads = known.threads if known else _threads(rank)
    verdict = judge(
        planned,
        mine,
        threads=threads,
        topology=topology,
        others={
            other.rank: effective[other.pid]
            for other in alive
            if other.namespace == rank.namespace and other.pid != rank.pid
        },
        limits=_limits(rank),
    )
    return RankReport(
        rank=rank.rank,
        node=known.node if known else socket.gethostname(),
        host_pid=rank.pid,
        container_pid=rank.container_pid,
        planned=planned,
        effective=mine,
        threads=threads,
        verdict=str(verdict),
        narrowed_by=verdict.narrowed_by,
        numa=numa_nodes(topology, mine),
        gpus=tuple(rank.env[name] for name in _VISIBLE if rank.env.get(name)),
        memory=memory_policy(rank.pid),
    )


def numa_nodes(topology: Topology, cpus: CpuSet) -> str:
    """The NUMA nodes that hold the CPUs, by OS index."""
    return str(CpuSet.of(n.os_index or 0 for n in topology.numa_nodes if n.cpus & cpus))


def places_of(text: str) -> CpuSet:
    """The CPUs of an OMP_PLACES with explicit sets; empty for an abstract name such as `cores`."""
    if not text.startswith("{"):
        return EMPTY
    return union(
        CpuSet.of(range(int(first), int(first) + int(count or 1)))
        for first, count in _INTERVAL.findall(text)
    )


def memory_policy(pid: int, proc: Path = PROC) -> str:
    """The policy of a process's first mapping (`default`, `bind:0`); empty if it is not told.

    The kernel shows a process-wide policy only through the mappings that follow it.
    """
    try:
        with (proc / str(pid) / "numa_maps").open(errors="replace") as lines:
            return next(lines, "").partition(" ")[2].split(" ")[0]
    except OSError:
        return ""


def thread_table(ranks: Sequence[RunningRank]) -> str:
    """Every thread of every rank: its name, mask, last CPU, CPU seconds and a verdict."""
    columns = [
        Column("rank", right=True), Column("pid", right=True), Column("thread", right=True),
        Column("name"), Column("CPUs"), Column("last CPU", right=True),
        Column("CPU s", right=True), Column("verdict"),
    ]  # fmt: skip
    rows = []
    for rank in ranks:
        mask = _mask(rank.pid)
        threads = [t for pid in (rank.pid, *rank.descendants) for t in read_threads(pid)]
        computing = busy(threads)
        rows += [_thread_row(rank.rank, t, computing, mask or t.cpus) for t in threads]
    return render(columns, rows)


def _thread_row(
    rank: int, thread: ThreadState, computing: Sequence[ThreadState], mask: CpuSet
) -> tuple[str, ...]:
    return (
        str(rank),
        str(thread.pid),
        str(thread.tid),
        thread.name,
        str(thread.cpus),
        str(thread.last_cpu),
        f"{thread.cpu_seconds:.2f}",
        thread_verdict(thread, mask, computing) if thread in computing else "idle",
    )


def _mask(pid: int) -> CpuSet | None:
    try:
        return get_affinity(pid)
    except BindingError:
        return None


def _threads(rank: RunningRank) -> int:
    first = rank.env.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(first) if first.isdigit() else 1


def _limits(rank: RunningRank) -> dict[str, CpuSet]:
    limits = {}
    group = own_group(rank.pid)
    if group is not None:
        with suppress(CpusetsError):  # gone with its process
            limits["the control group"] = group.effective()
    masks = rank.env.get("SLURM_CPU_BIND_LIST", "").split(",")
    local = rank.env.get("SLURM_LOCALID", "")
    if "mask_cpu" in rank.env.get("SLURM_CPU_BIND_TYPE", "") and local.isdigit():
        limits["Slurm's mask"] = CpuSet.parse_mask(masks[int(local) % len(masks)])
    return limits
