"""A bandwidth- and compute-bound MPI+OpenMP program: the shim's plan, Slurm's default, and nothing.

    python benchmarks/hybrid.py [--quick] [--json FILE] [--check]

One rank per CPU pair of the node (at least two), OMP_NUM_THREADS unset, the same binary on all
sides, alternated: `shim exec` with Slurm's binding switched off (the shim divides the node),
`srun` as users call it, and `srun --cpu-bind=none`. The program is benchmarks/hybrid_load.c; each
step ends with a barrier, so the slowest rank sets the pace.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from benchmarks import harness
from benchmarks.pairs import Finding, Limit, alternate, compare

IMAGE = harness.image("openmpi-5.0")
DIRECTORY = "/shared/bench"
PROGRAM = f"{DIRECTORY}/hybrid_load"
SOURCE = Path(__file__).with_name("hybrid_load.c")
TRANSPORTS = {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,vader,tcp"}

NO_SLOWER = Limit("ratio", 1.05)
EXCLUDED = (
    "launch and MPI_Init: the program measures itself",
    "NUMA effects, where this machine has one memory node",
)

Rates = dict[str, float]


def ranks() -> int:
    """Ranks on the node: so many that each has two CPUs, but two at least."""
    return max(2, (os.cpu_count() or 1) // 2)


def run(allocation: harness.Allocation, seconds: float, side: str) -> Rates:
    """One run of one side."""
    options = ["--nodes=1", f"--ntasks={ranks()}"]
    command = [PROGRAM, str(seconds)]
    if side != "Slurm's default":
        options.append("--cpu-bind=none")
    if side == "shim exec":
        command = ["shim", "exec", "--bind", "/shared", IMAGE, *command]
    step = allocation.srun(options, command, TRANSPORTS).checked()
    (line,) = step.json_lines()
    return {"triad": line["triad_gb_per_s"], "compute": line["gflop_per_s"]}


def compile_on(directory: Path) -> None:
    """Put the source where the nodes see it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / SOURCE.name).write_bytes(SOURCE.read_bytes())


def main() -> int:
    options = harness.parser(__doc__ or "", rounds=9, quick_rounds=3)
    args = options.parse_args()
    rounds = harness.rounds_of(args)
    seconds = 0.5 if args.quick else 2.0
    findings: list[Finding] = []
    with (
        harness.bench_cluster(args, cpus=None) as cluster,
        harness.Allocation(cluster, nodes=1) as allocation,
    ):
        compile_on(cluster.shared / "bench")
        cluster.run(
            ["mpicc", "-O2", "-fopenmp", f"{DIRECTORY}/{SOURCE.name}", "-o", f"/tmp/{SOURCE.stem}"],
            check=True,
        )
        cluster.run(["cp", f"/tmp/{SOURCE.stem}", PROGRAM], user="root", check=True)
        names = ("shim exec", "Slurm's default", "no binding")
        sides = {name: partial(run, allocation, seconds, name) for name in names}
        taken = alternate(sides, rounds, harness.watch(f"{ranks()} ranks", rounds))
    for quantity, unit in (("triad", "s/GB"), ("compute", "s/GFLOP")):
        times = {side: [1 / rates[quantity] for rates in runs] for side, runs in taken.items()}
        for other in names[1:]:
            findings.append(
                compare(quantity, unit, other, times[names[0]], times[other], NO_SLOWER)
            )
    return harness.report("hybrid", args, findings, EXCLUDED, raw=dict(taken))


if __name__ == "__main__":
    sys.exit(harness.presentable(main))
