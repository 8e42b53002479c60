"""The affinity report: plan against what the kernel says, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from cpusets.cpuset import CpuSet
from cpusets.tables import Column, render

SCHEMA = "shim.affinity/1"


@dataclass(frozen=True, slots=True)
class RankReport:
    """One rank as planned and as found.

    `container_pid` is the pid as seen inside (None where unknown); `threads` are those planned
    for computing; `verdict` is `ok` or what is wrong; `narrowed_by` who took CPUs away.
    """

    rank: int
    node: str
    host_pid: int | None
    container_pid: int | None
    planned: CpuSet
    effective: CpuSet
    threads: int
    verdict: str
    narrowed_by: str | None = None


def to_json(reports: Iterable[RankReport]) -> str:
    """The report as JSON: `{"schema": "shim.affinity/1", "ranks": […]}`.

    Sets of CPUs are the kernel's lists of OS indices (`"0-3,8"`).
    """
    ranks = [
        {
            "rank": r.rank,
            "node": r.node,
            "host_pid": r.host_pid,
            "container_pid": r.container_pid,
            "planned": str(r.planned),
            "effective": str(r.effective),
            "threads": r.threads,
            "verdict": r.verdict,
            "narrowed_by": r.narrowed_by,
        }
        for r in _ordered(reports)
    ]
    return json.dumps({"schema": SCHEMA, "ranks": ranks}, indent=2)


_COLUMNS = (
    Column("rank", right=True),
    Column("node"),
    Column("host pid", right=True),
    Column("pid inside", right=True),
    Column("planned"),
    Column("effective"),
    Column("threads", right=True),
    Column("verdict"),
)


def render_table(reports: Iterable[RankReport]) -> str:
    """A table of at most 100 columns, ranks ascending; CPUs by OS index."""
    return render(_COLUMNS, (_row(report) for report in _ordered(reports)))


def _row(r: RankReport) -> tuple[str, ...]:
    return (
        str(r.rank),
        r.node,
        _number(r.host_pid),
        _number(r.container_pid),
        str(r.planned),
        str(r.effective) or "none",
        str(r.threads),
        r.verdict,
    )


def _ordered(reports: Iterable[RankReport]) -> list[RankReport]:
    return sorted(reports, key=lambda r: (r.rank, r.node))


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)
