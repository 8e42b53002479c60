"""`shim report`: the ranks that run on this node, plan against what the kernel says now."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cpusets import CpusetsError, RankReport, Topology, from_json, get_affinity, to_json
from cpusets import render_table as table
from cpusets.errors import BindingError
from shim.affinity.live import live_reports, thread_table
from shim.affinity.mistakes import mistakes
from shim.affinity.running import RunningRank, running_ranks
from shim.control import ask, running_steps
from shim.errors import ShimError

if TYPE_CHECKING:
    from shim.cli import Subparsers

DESCRIPTION = """Show each rank that runs on this node: its pids, the CPUs it was planned on, the
CPUs the kernel lets it use, and a verdict that names who changed them. With FILE, what
`--report-bindings=FILE` wrote at the start is shown, brought up to date for the ranks of this node.
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "report", help="plan against what the kernel says, per rank", description=DESCRIPTION
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="report of the start")
    parser.add_argument("--job", metavar="NAMESPACE", help="only the ranks of this PMIx namespace")
    parser.add_argument("--threads", action="store_true", help="show every thread too")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    try:
        known = from_json(_read(args.file)) if args.file else ()
        ranks = [rank for rank in running_ranks() if args.job in (None, rank.namespace)]
        topology = Topology.from_system()
        reports = _merged(known, live_reports(ranks, topology, known))
    except CpusetsError as error:
        raise ShimError(error.message, error.hint) from error
    if not reports:
        raise ShimError(
            "No rank of yours runs on this node.",
            "Run this on a node of the job while it runs, for example with "
            "`srun --overlap --jobid=JOB shim report`.",
        )
    if args.json:
        print(to_json(reports))
        return 0
    for namespace, part in _by_job(ranks, reports):
        if namespace:
            print(f"job {namespace}")
        sys.stdout.write(table(part))
    for text in partitions():
        sys.stdout.write("\n" + text)
    if args.threads:
        sys.stdout.write("\n" + thread_table(ranks))
    for sentence in _sentences(ranks, topology):
        print(sentence)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShimError(f"The report {path} cannot be read: {error}.", "Check the path.") from error


def _merged(known: Sequence[RankReport], live: Sequence[RankReport]) -> tuple[RankReport, ...]:
    """The live report of each known rank that runs here; with nothing known, all that run."""
    if not known:
        return tuple(live)
    now = {(report.rank, report.host_pid): report for report in live}
    return tuple(now.get((report.rank, report.host_pid), report) for report in known)


def partitions() -> list[str]:
    """The partitions of each step of this user on this node that has some."""
    replies = []
    for directory in running_steps(os.environ).values():
        with suppress(ShimError):  # it has just ended
            replies.append(ask(directory, ["partition", "list"]))
    return [reply.text for reply in replies if reply.exit_code == 0]


def _by_job(
    ranks: Sequence[RunningRank], reports: Sequence[RankReport]
) -> list[tuple[str, list[RankReport]]]:
    """The reports by PMIx namespace, whose name is left out where there is one job only."""
    jobs = {rank.pid: rank.namespace for rank in ranks}
    found: dict[str, list[RankReport]] = {}
    for report in reports:
        found.setdefault(jobs.get(report.host_pid or 0, ""), []).append(report)
    return list(found.items()) if len(found) > 1 else [("", list(reports))]


def _sentences(ranks: Sequence[RunningRank], topology: Topology) -> list[str]:
    """What looks like a mistake, said once for all ranks that share it."""
    who: dict[str, list[int]] = {}
    for rank in ranks:
        try:
            mask = get_affinity(rank.pid)
        except BindingError:  # it has ended
            continue
        for sentence in mistakes(rank.env, mask, topology):
            who.setdefault(sentence, []).append(rank.rank)
    return [
        f"rank{'s' if len(found) > 1 else ''} {', '.join(map(str, found[:8]))}"
        f"{' …' if len(found) > 8 else ''}: {sentence}"
        for sentence, found in who.items()
    ]
