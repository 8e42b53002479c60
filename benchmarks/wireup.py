"""What it costs to become an MPI job: MPI_Init, one barrier and MPI_Finalize on two nodes.

Sides, alternated: `srun --mpi=pmix shim exec` (our PMIx server and overlay); the same binary
natively under `srun --mpi=pmix` (Slurm's PMIx server); and `apptainer exec --sharens`, a container
with Slurm's PMIx server: what that costs more than native is reading the image. Ranks yield when
they wait, on all sides: there are many more of them than CPUs here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmarks import harness
from benchmarks.natively import native_program, unpack
from benchmarks.pairs import Finding, Limit, alternate, compare
from shim.errors import ShimError

RANKS_PER_NODE = (2, 16, 64)
QUICK_RANKS_PER_NODE = (2, 16)
NODES = 2
WITHIN = Limit("ratio", 1.15)
YIELD = {"OMPI_MCA_mpi_yield_when_idle": "1"}
EXCLUDED = (
    "in the program's own seconds: everything before main() (launch, container, dynamic linking)",
    "both nodes share one machine's CPUs",
)


@dataclass(frozen=True)
class Wireup:
    """One job. ``program_s``: the slowest MPI_Init and barrier, and rank 0's MPI_Finalize."""

    wall_s: float
    program_s: float
    init_s: float
    barrier_s: float
    finalize_s: float


def wireup_of(step: harness.Step, ranks: int) -> Wireup:
    """What one job took; refused unless it was one job of all its ranks."""
    lines = step.checked().json_lines()
    if len(lines) != 1 or lines[0]["size"] != ranks:
        raise ShimError(
            f"`{' '.join(step.argv)}` did not become one job of {ranks} ranks.",
            f"It said:\n{step.stdout[-2000:]}",
        )
    parts = [float(lines[0][part]) for part in ("init_s", "barrier_s", "finalize_s")]
    return Wireup(step.wall_s, sum(parts), *parts)


def measure(
    name: str,
    root: str,
    allocation: harness.Allocation,
    per_node: int,
    rounds: int,
    attempts: harness.Attempts,
) -> dict[str, list[Wireup]]:
    """All sides at one number of ranks, alternated."""
    ranks = NODES * per_node
    options = [f"--nodes={NODES}", f"--ntasks={ranks}", f"--ntasks-per-node={per_node}"]
    native = native_program(name, root, "wireup")
    # While they wait in MPI_Init, ranks wake every 100 µs. Many of them on few CPUs keep whoever
    # should answer them from running: a job of 128 ranks on two CPUs takes minutes either way.
    limit_s = 60.0 + 4 * per_node

    def shim() -> Wireup:
        command = ["shim", "exec", harness.image(name), "wireup"]
        return wireup_of(allocation.srun(options, command, YIELD, limit_s), ranks)

    def natively() -> Wireup:
        step = allocation.srun(options, native.argv, {**YIELD, **native.env}, limit_s)
        return wireup_of(step, ranks)

    def shared() -> Wireup:
        command = ["apptainer", "exec", "--sharens", harness.image(name), "wireup"]
        return wireup_of(allocation.srun(options, command, YIELD, limit_s), ranks)

    label = f"{NODES} x {per_node} ranks"
    sides: dict[str, Callable[[], Wireup]] = {
        "shim exec": lambda: attempts.until_it_works(f"shim exec, {label}", shim),
        "native": lambda: attempts.until_it_works(f"native, {label}", natively),
        "--sharens": lambda: attempts.until_it_works(f"--sharens, {label}", shared),
    }
    return alternate(sides, rounds, harness.watch(label, rounds))


def findings_of(per_node: int, taken: dict[str, list[Wireup]]) -> list[Finding]:
    """The program's own seconds, of which something is expected, and srun's wall time."""
    quantities: dict[str, Callable[[Wireup], float]] = {
        "Init+Barrier+Finalize": lambda one: one.program_s,
        "MPI_Init": lambda one: one.init_s,
        "wall of srun": lambda one: one.wall_s,
    }
    return [
        compare(
            f"{NODES} x {per_node} ranks, {quantity}",
            "s",
            against,
            [pick(one) for one in taken["shim exec"]],
            [pick(one) for one in taken[against]],
            WITHIN if against == "native" and quantity == "Init+Barrier+Finalize" else None,
        )
        for quantity, pick in quantities.items()
        for against in ("native", "--sharens")
    ]


def main() -> int:
    """Run the benchmark."""
    options = harness.parser(__doc__ or "", rounds=7, quick_rounds=3)
    options.add_argument("--image", default="openmpi-5.0", choices=harness.IMAGES)
    options.add_argument("--ranks-per-node", type=int, nargs="+", help=f"default {RANKS_PER_NODE}")
    args = options.parse_args()
    rounds = harness.rounds_of(args)
    findings: list[Finding] = []
    raw: dict[str, Any] = {}
    attempts = harness.Attempts()
    with (
        harness.bench_cluster(args, cpus=harness.INVENTED_CPUS) as cluster,
        harness.Allocation(cluster, nodes=NODES) as allocation,
    ):
        root = unpack(cluster, args.image)
        cases = args.ranks_per_node or (QUICK_RANKS_PER_NODE if args.quick else RANKS_PER_NODE)

        def case(per_node: int) -> None:
            taken = measure(args.image, root, allocation, per_node, rounds, attempts)
            findings.extend(findings_of(per_node, taken))
            raw[str(per_node)] = {side: list(map(asdict, all_)) for side, all_ in taken.items()}

        for per_node in cases:
            attempts.case(f"{NODES} x {per_node} ranks", partial(case, per_node))
    return harness.report(
        f"wireup ({args.image})",
        args,
        findings,
        EXCLUDED,
        attempts.remarks,
        raw,
        failures=attempts.lost,
    )


if __name__ == "__main__":
    sys.exit(harness.presentable(main))
