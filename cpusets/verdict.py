"""Judge a binding: does what the kernel says match the plan, is it any good, and who changed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cpusets.cpuset import CpuSet
from cpusets.devices import Device
from cpusets.topology import Topology

OK = "ok"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`findings` in order of weight, empty if all is well; `narrowed_by` names who took CPUs."""

    findings: tuple[str, ...]
    narrowed_by: str | None = None

    def __str__(self) -> str:
        return "; ".join(self.findings) or OK


def judge(
    planned: CpuSet,
    effective: CpuSet,
    *,
    threads: int = 1,
    topology: Topology | None = None,
    others: Mapping[int, CpuSet] | None = None,
    limits: Mapping[str, CpuSet] | None = None,
    gpus: Sequence[Device] = (),
) -> Verdict:
    """Judge one rank's binding.

    `threads` are the threads that compute; `others` the effective masks of the other ranks of
    the node; `gpus` those that the rank computes on; `limits` the masks that may have narrowed
    this one, by name, outermost first (`cgroup`, `launcher`, `parent`). A loss that none of
    them explains was done by the program.
    """
    narrowed_by = _narrower(planned, effective, limits or {})
    findings = [
        *_against_plan(planned, effective, narrowed_by),
        *_against_others(effective, topology, others or {}),
        *_against_hardware(effective, threads, topology),
        *(f"GPU {gpu.name} is remote" for gpu in gpus if gpu.cpus.isdisjoint(effective)),
    ]
    return Verdict(tuple(findings), narrowed_by)


def _narrower(planned: CpuSet, effective: CpuSet, limits: Mapping[str, CpuSet]) -> str | None:
    if planned <= effective or not effective <= planned:
        return None
    for name, mask in limits.items():
        if planned & mask == effective:
            return name
    return "the program itself"


def _against_plan(planned: CpuSet, effective: CpuSet, narrowed_by: str | None) -> list[str]:
    if narrowed_by is not None:
        return [f"narrowed by {narrowed_by} (lost {planned - effective})"]
    if planned < effective:
        return ["not bound"]
    return [] if planned == effective else ["bound elsewhere"]


def _against_others(
    effective: CpuSet, topology: Topology | None, others: Mapping[int, CpuSet]
) -> list[str]:
    sharing = sorted(rank for rank, cpus in others.items() if cpus & effective)
    if sharing:
        demand = 1 + len(sharing)
        if demand > len(effective):
            return [f"oversubscribed ({demand} ranks on {len(effective)} CPUs)"]
        return [f"shares CPUs with rank{_listed(sharing)}"]
    if topology is None:
        return []
    cores = CpuSet()
    for core in topology.spanned("core", effective):
        cores |= core.cpus
    sharing = sorted(rank for rank, cpus in others.items() if cpus & cores)
    return [f"shares a core with rank{_listed(sharing)}"] if sharing else []


def _against_hardware(effective: CpuSet, threads: int, topology: Topology | None) -> list[str]:
    findings = []
    if threads > len(effective):
        findings.append(f"{threads} threads on {len(effective)} CPUs")
    if topology is not None:
        nodes = topology.spanned("numa", effective)
        distinct = {node.cpus for node in nodes}
        if len(distinct) > 1:
            findings.append(f"spans {len(distinct)} NUMA nodes")
    return findings


def _listed(ranks: list[int]) -> str:
    shown = ",".join(str(rank) for rank in ranks[:4])
    return f"s {shown}…" if len(ranks) > 4 else f"{'s' if len(ranks) > 1 else ''} {shown}"
