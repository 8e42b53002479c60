"""The affinity report: plan against what the kernel says, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cpusets.cpuset import CpuSet
from cpusets.errors import ReportError
from cpusets.tables import Column, render

SCHEMA = "shim.affinity/1"


@dataclass(frozen=True, slots=True)
class RankReport:
    """One rank as planned and as found.

    `container_pid` is the pid as seen inside (None where unknown); `threads` are those planned
    for computing; `verdict` is `ok` or what is wrong; `narrowed_by` who took CPUs away. `numa`
    lists the NUMA nodes of the effective CPUs, `gpus` the planned GPUs, `memory` the policy as
    /proc/PID/numa_maps writes it; these are empty where they were not looked for.
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
    numa: str = ""
    gpus: tuple[str, ...] = ()
    memory: str = ""


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
            "numa": r.numa,
            "gpus": list(r.gpus),
            "memory": r.memory,
        }
        for r in _ordered(reports)
    ]
    return json.dumps({"schema": SCHEMA, "ranks": ranks}, indent=2)


def render_table(reports: Iterable[RankReport]) -> str:
    """A table of at most 100 columns, ranks ascending; CPUs by OS index.

    NUMA nodes, GPUs and memory policies have a column where they are known and not all default.
    """
    ordered = _ordered(reports)
    numa = any(r.numa for r in ordered)
    gpus = any(r.gpus for r in ordered)
    memory = any(r.memory not in ("", "default") for r in ordered)
    columns = [
        Column("rank", right=True),
        Column("node"),
        Column("host pid", right=True),
        Column("pid inside", right=True),
        Column("planned"),
        Column("effective"),
        *([Column("NUMA")] if numa else []),
        Column("threads", right=True),
        *([Column("GPU")] if gpus else []),
        *([Column("memory")] if memory else []),
        Column("verdict"),
    ]
    rows = [
        (
            str(r.rank),
            r.node,
            _number(r.host_pid),
            _number(r.container_pid),
            str(r.planned),
            str(r.effective) or "none",
            *([r.numa] if numa else []),
            str(r.threads),
            *([", ".join(r.gpus)] if gpus else []),
            *([r.memory] if memory else []),
            r.verdict,
        )
        for r in ordered
    ]
    return render(columns, rows)


def from_json(text: str) -> tuple[RankReport, ...]:
    """Read what `to_json` wrote. Raises ReportError for anything else."""
    try:
        data = json.loads(text)
        if data["schema"] != SCHEMA:
            raise ReportError(
                f"The report has schema {data['schema']!r}, not {SCHEMA!r}.",
                "Use the version of this software that wrote it.",
            )
        return tuple(_entry(dict(entry)) for entry in data["ranks"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReportError(
            f"This is no report of bindings ({type(error).__name__}: {error}).",
            "Give a file that --report-bindings=FILE wrote.",
        ) from error


def _entry(fields: dict[str, Any]) -> RankReport:
    for name in ("planned", "effective"):
        fields[name] = CpuSet.parse(fields[name])
    fields["gpus"] = tuple(fields["gpus"])
    return RankReport(**fields)


def _ordered(reports: Iterable[RankReport]) -> list[RankReport]:
    return sorted(reports, key=lambda r: (r.rank, r.node))


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)
