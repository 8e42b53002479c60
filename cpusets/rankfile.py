"""Rank files: `rank 0=node1 slot=0-3`, as Open MPI and PRRTE read and we read and write."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cpusets.cpuset import CpuSet, union
from cpusets.errors import CpuListError, PlanError
from cpusets.explicit import core_numbers, logical_cores
from cpusets.topology import Topology

_LINE = re.compile(r"rank\s+(\d+)\s*=\s*(\S+)\s+(slots?|cpus)\s*=\s*(\S.*)\Z")


@dataclass(frozen=True, slots=True)
class RankLine:
    """One line. `node` is a name, or `+n1` for the second node of the job.

    `numbers` is what `slot=` holds: logical cores (`0-3`) or `package:cores` pairs (`1:0-1`),
    or, if `physical`, what `cpus=` holds: CPUs by OS index.
    """

    rank: int
    node: str
    numbers: str
    physical: bool


def parse_rankfile(text: str) -> tuple[RankLine, ...]:
    """Read a rank file, lines in rank order. Raises PlanError for a bad line or a hole."""
    lines: dict[int, RankLine] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        content = raw.split("#")[0].strip()
        if not content:
            continue
        match = _LINE.match(content)
        if match is None:
            raise PlanError(
                f"Line {number} of the rank file is not understood: {content!r}.",
                "Write it as 'rank 0=node1 slot=0-3' (logical cores) or 'rank 0=node1 cpus=0-3' "
                "(the operating system's numbers).",
            )
        rank = int(match[1])
        if rank in lines:
            raise PlanError(f"Rank {rank} appears twice in the rank file.", "Name it once.")
        lines[rank] = RankLine(rank, match[2], match[4].strip(), match[3] == "cpus")
    holes = sorted(set(range(len(lines))) - set(lines))
    if holes:
        raise PlanError(
            f"The rank file names {len(lines)} ranks up to {max(lines)}, but not rank {holes[0]}.",
            f"Number the ranks 0 to {len(lines) - 1} without a hole.",
        )
    return tuple(lines[rank] for rank in sorted(lines))


def lines_by_node(
    lines: Sequence[RankLine], nodes: Sequence[str]
) -> tuple[tuple[RankLine, ...], ...]:
    """The lines of each node of the job. Raises PlanError for a node that the job has not."""
    found: list[list[RankLine]] = [[] for _ in nodes]
    names = {name: at for at, node in enumerate(nodes) for name in (node, f"+n{at}")}
    for line in lines:
        if line.node not in names:
            raise PlanError(
                f"The rank file puts rank {line.rank} on {line.node}, which the job has not.",
                f"The nodes are {', '.join(nodes[:8])} (or +n0, +n1 …).",
            )
        found[names[line.node]].append(line)
    return tuple(map(tuple, found))


def cpus_of(line: RankLine, topology: Topology) -> CpuSet:
    """The CPUs that a line names on its node. Raises PlanError where they do not exist."""
    try:
        if line.physical:
            return CpuSet.parse(line.numbers)
        return union(_slots(topology, part) for part in line.numbers.split(";"))
    except CpuListError as error:
        raise PlanError(
            f"Rank {line.rank} of the rank file: {error.message}", error.hint
        ) from error


def _slots(topology: Topology, text: str) -> CpuSet:
    package, colon, cores = text.partition(":")
    if not colon:
        return logical_cores(topology, CpuSet.parse(text))
    numbers = CpuSet.parse(package)
    if len(numbers) != 1 or numbers.first() >= len(topology.packages):
        raise PlanError(
            f"{package!r} is no package of this node, which has {len(topology.packages)}.",
            "Write package:cores, both counted from 0.",
        )
    inside = topology.spanned("core", topology.packages[numbers.first()].cpus)
    wanted = CpuSet.parse(cores)
    if wanted and wanted.last() >= len(inside):
        raise PlanError(
            f"Package {package} has no core {wanted.last()}.", f"It has 0-{len(inside) - 1}."
        )
    return union(inside[number].cpus for number in wanted)


def format_rankfile(placements: Mapping[str, tuple[Topology, Mapping[int, CpuSet]]]) -> str:
    """Write a rank file for nodes by name: logical cores as far as the ranks have whole cores.

    A rank with part of a core gets `cpus=` with the operating system's numbers, which only this
    software reads.
    """
    lines = []
    for node, (topology, masks) in placements.items():
        for rank, cpus in masks.items():
            cores = core_numbers(topology, cpus)
            where = f"cpus={cpus}" if cores is None else f"slot={cores}"
            lines.append((rank, f"rank {rank}={node} {where}\n"))
    return "".join(text for _, text in sorted(lines))
