"""Latency and bandwidth between two ranks in containers, against the same binary natively.

Two ranks on one node and on two, with Open MPI 4.1.4 and 5.0.7. Sides, alternated: `shim exec` and
the same binary without a container (benchmarks/natively.py says how). Then, once each and with
a time limit, the plain `srun apptainer exec`, whose outcome is stated as found.

Slurm binds the ranks on all sides, and all use the same transports: pml ob1 over shared memory
with CMA, and TCP.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import harness
from benchmarks.natively import native_program, unpack
from benchmarks.pairs import Finding, Limit, alternate, compare

SIZES = {"8 B": 8, "64 KiB": 1 << 16, "8 MiB": 8 << 20}
"""The sizes in the table; every size is in the JSON."""

WITHIN = Limit("ratio", 1.03)
PLAIN_LIMIT_S = 30.0
TRANSPORTS = {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,vader,tcp"}
"""Open MPI 5 still knows its shared-memory transport by its old name, vader."""

EXCLUDED = (
    "launch and MPI_Init: the program measures itself",
    "other transports (UCX, OFI): this machine has no such network",
    "two nodes are network namespaces of one machine: TCP over a virtual cable",
)


@dataclass(frozen=True)
class Case:
    """An image and a placement of the two ranks."""

    image: str
    nodes: int

    def __str__(self) -> str:
        return f"{self.image}, {self.nodes} node{'s' * (self.nodes > 1)}"

    @property
    def options(self) -> list[str]:
        """srun's options for it.

        On one node each rank gets a CPU of its own. The two nodes are one machine, and both
        ranks on its first CPU would be no ping-pong: there each may use all of them.
        """
        each = 1 if self.nodes == 1 else os.cpu_count()
        options = [f"--nodes={self.nodes}", "--ntasks=2", f"--cpus-per-task={each}"]
        return [*options, "--cpu-bind=cores"]


Times = dict[int, float]
"""Message size in bytes → microseconds of half the median round trip of one run."""


def times_of(step: harness.Step) -> Times:
    """What the program printed."""
    return {line["bytes"]: line["latency_us"] for line in step.checked().json_lines()}


def measure_case(
    case: Case, root: str, allocation: harness.Allocation, seconds: float, rounds: int
) -> dict[str, list[Times]]:
    """Both sides of one case, alternated."""
    options = ["--seconds-per-size", str(seconds)]
    native = native_program(case.image, root, "pingpong")

    def shim() -> Times:
        command = ["shim", "exec", harness.image(case.image), "pingpong", *options]
        return times_of(allocation.srun(case.options, command, TRANSPORTS))

    def natively() -> Times:
        command = [*native.argv, *options]
        return times_of(allocation.srun(case.options, command, {**TRANSPORTS, **native.env}))

    sides: dict[str, Callable[[], Times]] = {"shim exec": shim, "native": natively}
    return alternate(sides, rounds, harness.watch(str(case), rounds))


def findings_of(case: Case, taken: dict[str, list[Times]]) -> list[Finding]:
    """The time per message, at the sizes of the table. Its ratio is that of bandwidths too."""
    return [
        compare(
            f"{case}, {label}",
            "µs",
            "native",
            [times[size] for times in taken["shim exec"]],
            [times[size] for times in taken["native"]],
            WITHIN,
        )
        for label, size in SIZES.items()
    ]


def plain_outcome(case: Case, allocation: harness.Allocation, seconds: float) -> str:
    """What happens without shim, in a sentence."""
    command = ["apptainer", "exec", harness.image(case.image), "pingpong"]
    command += ["--seconds-per-size", str(seconds)]
    step = allocation.srun(case.options, command, TRANSPORTS, PLAIN_LIMIT_S)
    _, mark, warning = step.stderr.partition("WARNING: ")
    first = " ".join(warning.partition("\n\n")[0].split())
    warned = f"; it warned: {first}" if mark else ""
    sizes = [line["bytes"] for line in step.json_lines()]
    if step.code is None:
        said = f"hung: nothing after {max(sizes, default=0)} B within {PLAIN_LIMIT_S:g} s"
    elif step.code != 0:
        said = f"failed with {step.code}"
    else:
        large = step.json_lines()[-1]
        said = f"ran; {large['bytes'] >> 20} MiB at {large['bandwidth_MBps']:.0f} MB/s"
    return f"srun apptainer exec, {case}: {said}{warned}"


def main() -> int:
    """Run the benchmark."""
    args = harness.parser(__doc__ or "", rounds=7, quick_rounds=3).parse_args()
    rounds = harness.rounds_of(args)
    seconds = 0.05 if args.quick else 0.2
    findings: list[Finding] = []
    remarks: list[str] = []
    raw: dict[str, Any] = {}
    attempts = harness.Attempts()
    with (
        harness.bench_cluster(args, cpus=None) as cluster,
        harness.Allocation(cluster, nodes=2) as allocation,
    ):
        roots = {name: unpack(cluster, name) for name in harness.IMAGES}

        def both_sides(case: Case) -> None:
            taken = measure_case(case, roots[case.image], allocation, seconds, rounds)
            findings.extend(findings_of(case, taken))
            raw[str(case)] = taken

        for case in (Case(name, nodes) for name in harness.IMAGES for nodes in (1, 2)):
            attempts.case(str(case), partial(both_sides, case))
            remarks.append(plain_outcome(case, allocation, seconds))
    return harness.report(
        "pingpong", args, findings, EXCLUDED, remarks, raw, failures=attempts.lost
    )


if __name__ == "__main__":
    sys.exit(harness.presentable(main))
