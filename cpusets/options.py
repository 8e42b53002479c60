"""The mapper's options as a user writes them, and the request that they mean on a node."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from cpusets.axes import OBJECTS, parse_bind_to, parse_map_by, parse_rank_by
from cpusets.cpuset import EMPTY, CpuSet, union
from cpusets.errors import CpuListError, PlanError
from cpusets.explicit import parse_cpu_bind
from cpusets.mempolicy import mode_named
from cpusets.request import NodeRequest, check
from cpusets.shares import cores_of
from cpusets.topology import Topology

_RESERVE = re.compile(r"(\d+)(?::([a-z0-9]+))?\Z")


@dataclass(frozen=True)
class MappingOptions:
    """The words of the command line; numbers are already numbers. None is 'not said'."""

    map_by: str = "auto"
    rank_by: str | None = None
    bind_to: str | None = None
    cpus_per_rank: int | None = None
    threads: int | None = None
    smt: int | None = None
    reserve: str | None = None
    gpus_per_rank: str = "0"
    mem_bind: str = "none"
    cpu_bind: str | None = None
    oversubscribe: bool = False


def request_on(
    options: MappingOptions, topology: Topology, allowed: CpuSet, ranks: Sequence[int] = ()
) -> NodeRequest:
    """The request that the options mean on one node. Raises PlanError for a wrong word.

    Two ways of saying the CPUs per rank (`:pe=` and its own option) must agree.
    """
    map_by, pe = parse_map_by(options.map_by)
    if pe is not None and options.cpus_per_rank not in (None, pe):
        raise PlanError(
            f"--map-by {options.map_by} contradicts {options.cpus_per_rank} CPUs per rank.",
            "Say it once.",
        )
    explicit = None
    if options.cpu_bind is not None:
        explicit = parse_cpu_bind(options.cpu_bind, ranks, topology)
    return NodeRequest(
        ranks=tuple(ranks),
        threads=options.threads,
        oversubscribe=options.oversubscribe,
        explicit=explicit,
        map_by=map_by,
        rank_by=None if options.rank_by is None else parse_rank_by(options.rank_by),
        bind_to=None if options.bind_to is None else parse_bind_to(options.bind_to),
        cpus_per_rank=pe if options.cpus_per_rank is None else options.cpus_per_rank,
        smt=options.smt,
        reserve=parse_reserve(options.reserve, topology, allowed),
        gpus_per_rank=parse_gpus(options.gpus_per_rank),
        memory=options.mem_bind,
    )


def check_options(options: MappingOptions) -> None:
    """Refuse wrong words and contradictions as far as they need no machine. Raises PlanError."""
    map_by, pe = parse_map_by(options.map_by)
    mode_named(options.mem_bind)
    check(
        NodeRequest(
            ranks=(),
            threads=options.threads,
            map_by=map_by,
            rank_by=None if options.rank_by is None else parse_rank_by(options.rank_by),
            bind_to=None if options.bind_to is None else parse_bind_to(options.bind_to),
            cpus_per_rank=options.cpus_per_rank or pe,
            smt=options.smt,
            gpus_per_rank=parse_gpus(options.gpus_per_rank),
        )
    )


def parse_reserve(text: str | None, topology: Topology, allowed: CpuSet) -> CpuSet:
    """Read `--reserve`: `N` cores of the node, `N:l3` of each L3 (or another object), or
    `cpus:LIST` by OS index. Cores are taken from the front, where Linux puts most interrupts.
    """
    if text is None:
        return EMPTY
    word = text.strip().lower()
    if word.startswith("cpus:"):
        try:
            return CpuSet.parse(word.removeprefix("cpus:"))
        except CpuListError as error:
            raise PlanError(f"--reserve {text}: {error.message}", error.hint) from error
    match = _RESERVE.match(word)
    level = match[2] if match else None
    if match is None or (level is not None and level not in OBJECTS):
        raise PlanError(
            f"{text!r} names no CPUs to reserve.",
            "Write N (cores of the node), N:l3 (cores of each L3) or cpus:0,64.",
        )
    usable = allowed & topology.complete
    parts = topology.parts(level, usable) if level else (usable,)
    return union(core for part in parts for core in cores_of(topology, part)[: int(match[1])])


def parse_gpus(text: str) -> Fraction:
    """Read `--gpus-per-rank`: a whole number, or 1/k."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise PlanError(
            f"{text!r} is no number of GPUs.", "Write a whole number, or 1/2, 1/3 and so on."
        ) from error
