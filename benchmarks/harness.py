"""What the scripts share: options, the cluster, allocations, timed steps, and the report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.pairs import Absolute, Finding, Measurement
from shim.errors import ShimError
from testbed import Cluster

INVENTED_CPUS = 64
"""CPUs per node where many ranks are started: Slurm must believe that they fit."""

IMAGES = ("openmpi-4.1", "openmpi-5.0")
QUIET = {"APPTAINER_MESSAGELEVEL": "1"}
"""For every side alike: the runtime's chatter about optional programs costs a write per rank."""

# Runs on the head node, so that getting there is not in the measured time.
_TIMED = """
import json, subprocess, sys, time
argv, limit = json.loads(sys.argv[1])
start = time.perf_counter()
try:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, errors="replace")
    code, out, err = done.returncode, done.stdout, done.stderr
except subprocess.TimeoutExpired as late:
    code, out, err = None, (late.stdout or b"").decode(), (late.stderr or b"").decode()
print(json.dumps([time.perf_counter() - start, code, out, err]))
"""


@dataclass(frozen=True)
class Step:
    """One command that ran on the head node. ``code`` is None when it hit its time limit."""

    argv: tuple[str, ...]
    wall_s: float
    code: int | None
    stdout: str
    stderr: str

    def checked(self) -> Step:
        """The same step; refused if it failed, since its time would mean nothing."""
        if self.code != 0:
            said = (self.stderr or self.stdout).strip()[-2000:]
            what = "did not end in time" if self.code is None else f"ended with {self.code}"
            raise ShimError(f"`{' '.join(self.argv)}` {what}.", f"It said:\n{said}")
        return self

    def json_lines(self) -> list[dict[str, Any]]:
        """The objects among the lines of stdout."""
        lines = self.stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def parser(description: str, rounds: int, quick_rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--cluster", metavar="NAME", help="cluster to use (default: one of its own)"
    )
    options.add_argument(
        "--keep", action="store_true", help="leave the cluster up if this run brought it up"
    )
    options.add_argument("--quick", action="store_true", help="fewer cases and rounds")
    options.add_argument(
        "--rounds",
        type=int,
        default=None,
        help=f"turns of each side (default {rounds}, {quick_rounds} with --quick)",
    )
    options.add_argument("--json", type=Path, metavar="FILE", help="write the results here too")
    options.add_argument(
        "--check", action="store_true", help="end with 1 when an expectation is missed"
    )
    options.set_defaults(full_rounds=rounds, quick_rounds=quick_rounds)
    return options


def rounds_of(args: argparse.Namespace) -> int:
    """How many turns each side takes."""
    return int(args.rounds or (args.quick_rounds if args.quick else args.full_rounds))


@contextmanager
def bench_cluster(args: argparse.Namespace, cpus: int | None) -> Iterator[Cluster]:
    """The cluster to measure on, with the images in it; brought up first if it is down.

    *cpus* are the CPUs of a node: a number to invent so many, which leaves ranks unbound unless
    shim binds them, or None for this machine's true ones, to which Slurm binds.
    """
    name = args.cluster or f"shim-bench-{'true' if cpus is None else cpus}"
    try:
        cluster, ours = Cluster.attach(name), False
    except ShimError:
        note(f"bringing up the cluster {name}")
        cluster, ours = Cluster.up(name, nodes=2, cpus=cpus or "auto"), True
    try:
        if cluster.spec.cpus != cpus:
            raise ShimError(
                f"The cluster {name!r} has not the CPUs that this benchmark is about.",
                f"Bring up another with --cpus {cpus or 'auto'}, or leave --cluster out.",
            )
        command = [sys.executable, "-m", "shim", "image", "build", *IMAGES]
        subprocess.run(
            [*command, "--cluster", name],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).parents[1],
        )
        yield cluster
    finally:
        if ours and not args.keep:
            cluster.down()


def image(name: str) -> str:
    """Path of an image inside the cluster."""
    return f"/shared/images/{name}.sif"


class Allocation:
    """A running allocation on the cluster; its steps start without waiting for the scheduler."""

    def __init__(self, cluster: Cluster, nodes: int) -> None:
        self._cluster = cluster
        granted = cluster.run(
            ["salloc", "--no-shell", f"--nodes={nodes}", "--exclusive", "--overcommit"],
            timeout=120,
            check=True,
        )
        words = granted.stderr.split()
        self.job = words[words.index("allocation") + 1]

    def srun(
        self,
        options: Sequence[str],
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        limit_s: float = 120,
    ) -> Step:
        """Run one step and time it, from srun's start to its end."""
        # --overcommit: more ranks than the node has CPUs is what these measurements are about.
        argv = ["srun", f"--jobid={self.job}", "--overcommit", "--mpi=pmix", *options, *command]
        return timed(self._cluster, argv, env, limit_s)

    def __enter__(self) -> Allocation:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.run(["scancel", self.job], timeout=30)


def timed(
    cluster: Cluster,
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    limit_s: float = 120,
) -> Step:
    """Run a command on the head node as the ordinary user; its wall time is taken there."""
    result = cluster.run(
        ["python3", "-c", _TIMED, json.dumps([list(argv), limit_s])],
        env={**QUIET, **(env or {})},
        timeout=limit_s + 60,
        check=True,
    )
    wall_s, code, stdout, stderr = json.loads(result.stdout)
    return Step(tuple(argv), wall_s, code, stdout, stderr)


class Attempts:
    """Tries a measurement again when its step failed, and remembers each failure.

    A launcher or an MPI that fails now and then must neither end a long run nor go unmentioned.
    """

    MOST = 3

    def __init__(self) -> None:
        self._failures: dict[str, list[str]] = {}
        self.lost: list[str] = []

    def until_it_works(self, label: str, measure: Callable[[], Measurement]) -> Measurement:
        """Measure, at most three times; the last failure is the caller's."""
        for _ in range(self.MOST - 1):
            try:
                return measure()
            except ShimError as error:
                self._failures.setdefault(label, []).append(error.message)
        return measure()

    def case(self, label: str, measure: Callable[[], None]) -> None:
        """Carry out one case; when it cannot be measured, go on with the others and tell."""
        try:
            measure()
        except ShimError as error:
            self.lost.append(f"{label}: {error}")

    @property
    def remarks(self) -> list[str]:
        """A sentence per label that failed."""
        return [
            f"{label}: failed {len(messages)} time(s) and was repeated; last: {messages[-1]}"
            for label, messages in self._failures.items()
        ]


def note(text: str) -> None:
    """One line of progress."""
    print(f"... {text}", file=sys.stderr, flush=True)


def watch(what: str, rounds: int) -> Any:
    """A watcher for `pairs.alternate` that says which turn begins."""

    def say(number: int, side: str) -> None:
        turn = "warm-up" if number < 0 else f"round {number + 1} of {rounds}"
        note(f"{what}: {turn}, {side}")

    return say


def report(
    name: str,
    args: argparse.Namespace,
    findings: Sequence[Finding],
    excluded: Sequence[str],
    remarks: Sequence[str] = (),
    raw: Mapping[str, Any] | None = None,
    absolutes: Sequence[Absolute] = (),
    failures: Sequence[str] = (),
) -> int:
    """Print the findings, write them as JSON if asked, and return the exit code.

    *failures* name the cases that could not be measured at all.
    """
    machine = {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "load_average_after": os.getloadavg()[0],
    }
    print(
        f"\n{name}: {machine['cpus']} CPUs, Linux {machine['kernel']}, load average after the run"
    )
    print(f"{machine['load_average_after']:.1f}; ratio = ours / theirs of the same round\n")
    if findings:
        print_table([HEADING, *map(_cells, findings)])
    if absolutes:
        print_table([ABSOLUTE_HEADING, *map(_absolute_cells, absolutes)])
    for line in failures:
        print(f"  FAILED: {line}")
    for line in remarks:
        print(f"  as found: {line}")
    for line in excluded:
        print(f"  not in it: {line}")
    if args.json is not None:
        document = {
            "benchmark": name,
            "machine": machine,
            "quick": args.quick,
            "findings": [{**asdict(f), "verdict": f.verdict} for f in findings],
            "absolutes": [{**asdict(a), "verdict": a.verdict} for a in absolutes],
            "failures": list(failures),
            "as_found": list(remarks),
            "excluded": list(excluded),
            "raw": raw or {},
        }
        args.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    verdicts = [finding.verdict for finding in findings] + [one.verdict for one in absolutes]
    return 1 if args.check and (failures or "missed" in verdicts) else 0


HEADING = ("quantity", "against", "ours", "theirs", "ratio min/median/max", "n", "expected", "")
ABSOLUTE_HEADING = ("quantity", "min/median/max", "n", "expected", "")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """A fixed-width table, its first row the heading: it is read in logs."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  " + "  ".join(cells).rstrip())
    print()


def _cells(finding: Finding) -> tuple[str, ...]:
    ratio = finding.ratio
    return (
        finding.quantity,
        finding.against,
        f"{finding.ours.median:.4g} {finding.unit}",
        f"{finding.theirs.median:.4g} {finding.unit}",
        f"{ratio.minimum:.3f} / {ratio.median:.3f} / {ratio.maximum:.3f}",
        str(ratio.n),
        str(finding.limit or ""),
        finding.verdict,
    )


def _absolute_cells(absolute: Absolute) -> tuple[str, ...]:
    found = absolute.found
    return (
        absolute.quantity,
        f"{found.minimum:.4g} / {found.median:.4g} / {found.maximum:.4g} {absolute.unit}",
        str(found.n),
        "" if absolute.most is None else f"≤ {absolute.most:g}",
        absolute.verdict,
    )


def presentable(main: Callable[[], int]) -> int:
    """Run *main*; a refusal becomes its two sentences."""
    try:
        return main()
    except ShimError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return error.exit_code
