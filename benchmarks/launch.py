"""What it costs to start R ranks in containers on one node: wall time, CPU and memory.

Sides, alternated: `shim exec` (one container per node that the ranks join), `apptainer exec` (a
container per rank), `apptainer exec --sharens` (Apptainer's own sharing), and no container. Every
rank only sleeps, long enough that all are there at once: --sharens fails when its first rank
ends before the others have joined it. The sleep is taken off the wall time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.node_meter import NodeMeter
from benchmarks.pairs import Finding, Limit, alternate, compare
from shim.errors import ShimError
from testbed import Cluster

RANKS = (1, 2, 4, 16, 64)
QUICK_RANKS = (1, 4, 16)
NODE = "n1"
IMAGE = harness.image("openmpi-5.0")
OURS = "shim exec"
SIDES = {
    OURS: ("shim", "exec", IMAGE),
    "apptainer exec": ("apptainer", "exec", IMAGE),
    "--sharens": ("apptainer", "exec", "--sharens", IMAGE),
    "native": (),
}
EXCLUDED = (
    "srun and slurmctld (they run on the head node; CPU and memory are the compute node's)",
    "MPI_Init (see the wireup benchmark), reading the image for the first time (warm cache)",
    "CPU and memory include the tear-down after srun returned; wall time does not",
)


@dataclass(frozen=True)
class Launch:
    """One start of all ranks."""

    wall_s: float
    cpu_s: float
    memory_mb: float
    cached_mb: float


def expectation(quantity: str, against: str, ranks: int) -> Limit | None:
    """What issue and design ask of a launch."""
    if against == "apptainer exec" and quantity == "wall":
        if ranks == 1:
            return Limit("difference", 0.2)
        return Limit("ratio", 0.25) if ranks == 64 else None
    if against == "apptainer exec" and quantity == "CPU" and ranks == 64:
        return Limit("ratio", 0.15)
    if against == "--sharens" and quantity == "wall" and ranks >= 4:
        return Limit("ratio", 1.0)
    return None


def launcher(
    allocation: harness.Allocation, meter: NodeMeter, ranks: int, prefix: Sequence[str]
) -> Callable[[], Launch]:
    """A function that starts the ranks once, through *prefix*, and says what it cost."""

    # --sharens starts slower than 0.05 s a rank on two CPUs; twice that is kept.
    sleep_s = max(1.0, 0.1 * ranks)

    def launch() -> Launch:
        with meter.measuring() as cost:
            options = ["--nodes=1", f"--nodelist={NODE}", f"--ntasks={ranks}"]
            step = allocation.srun(options, [*prefix, "sleep", str(sleep_s)]).checked()
        megabyte = 1e6
        return Launch(
            step.wall_s - sleep_s,
            cost[0].cpu_s,
            cost[0].memory_bytes / megabyte,
            cost[0].cached_bytes / megabyte,
        )

    return launch


def findings_of(ranks: int, taken: dict[str, list[Launch]]) -> list[Finding]:
    """Our side against each other side, in every quantity."""
    quantities: dict[str, tuple[str, Callable[[Launch], float]]] = {
        "wall": ("s", lambda launch: launch.wall_s),
        "CPU": ("s", lambda launch: launch.cpu_s),
        "memory": ("MB", lambda launch: launch.memory_mb),
        "with cache": ("MB", lambda launch: launch.cached_mb),
    }
    return [
        compare(
            f"{ranks} ranks, {quantity}",
            unit,
            against,
            [pick(launch) for launch in taken[OURS]],
            [pick(launch) for launch in taken[against]],
            expectation(quantity, against, ranks),
        )
        for quantity, (unit, pick) in quantities.items()
        for against in taken
        if against != OURS
    ]


def count_fuse_servers(
    cluster: Cluster, allocation: harness.Allocation, meter: NodeMeter, prefix: Sequence[str]
) -> int:
    """How many squashfuse processes serve the image while four ranks run."""
    ranks = 4
    argv = ["srun", f"--jobid={allocation.job}", "--nodes=1", "--mpi=pmix"]
    argv += [f"--nodelist={NODE}", f"--ntasks={ranks}", *prefix, "sleep", "3"]
    process = cluster.popen(argv, env=harness.QUIET)
    deadline = time.monotonic() + 30
    while _named(meter.pids, "sleep") < ranks:
        if time.monotonic() > deadline or process.poll() is not None:
            raise ShimError("The ranks that were to be counted did not start.", "Run it by hand.")
        time.sleep(0.05)
    servers = _named(meter.pids, "squashfuse")
    process.communicate()
    return servers


def _named(pids: Sequence[int], name: str) -> int:
    """How many of the processes have a command name that begins with *name*."""
    found = 0
    for pid in pids:
        try:
            found += Path(f"/proc/{pid}/comm").read_text().startswith(name)
        except OSError:
            continue
    return found


def main() -> int:
    """Run the benchmark."""
    options = harness.parser(__doc__ or "", rounds=7, quick_rounds=3)
    options.add_argument("--ranks", type=int, nargs="+", help=f"ranks per node (default {RANKS})")
    args = options.parse_args()
    rounds = harness.rounds_of(args)
    findings: list[Finding] = []
    raw: dict[str, Any] = {}
    attempts = harness.Attempts()
    with (
        harness.bench_cluster(args, cpus=harness.INVENTED_CPUS) as cluster,
        harness.Allocation(cluster, nodes=2) as allocation,
        NodeMeter(cluster, NODE) as meter,
    ):

        def case(ranks: int) -> None:
            sides = {
                name: launcher(allocation, meter, ranks, prefix) for name, prefix in SIDES.items()
            }
            taken = alternate(sides, rounds, harness.watch(f"{ranks} ranks", rounds))
            findings.extend(findings_of(ranks, taken))
            raw[str(ranks)] = {side: list(map(asdict, all_)) for side, all_ in taken.items()}

        for ranks in args.ranks or (QUICK_RANKS if args.quick else RANKS):
            attempts.case(f"{ranks} ranks", partial(case, ranks))
        remarks = [
            f"{name}: {servers} squashfuse for 4 ranks"
            for name, prefix in SIDES.items()
            if (servers := count_fuse_servers(cluster, allocation, meter, prefix))
        ]
    return harness.report("launch", args, findings, EXCLUDED, remarks, raw, failures=attempts.lost)


if __name__ == "__main__":
    sys.exit(harness.presentable(main))
