"""`make demo`: a hybrid MPI+OpenMP job in one container per node, on a private Slurm cluster.

Brings a cluster up, builds an image, runs the same program through `srun … shim exec` and through
`shim run`, and shows for each rank what was planned and what the program itself saw.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from shim.errors import ShimError
from shim.image_build import ImageCache, ensure_image, load_recipe
from shim.image_build.recipe import source_directory
from testbed import Cluster
from testbed.mirror import debian_mirror
from testbed.paths import cache_directory
from testbed.progress import steps_for_stderr

IMAGE = "/shared/images/openmpi-5.0.sif"

JOBS = {
    "srun starts the ranks, shim puts them into the container": (
        f"srun --mpi=pmix -N2 -n4 shim exec --report-bindings=/shared/plan.json {IMAGE} hybrid"
    ),
    "shim maps and starts the ranks itself, two OpenMP threads each": (
        "salloc --quiet -N2 --exclusive "
        f"shim run -n 2 --threads 2 --report-bindings=/shared/plan.json {IMAGE} hybrid"
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the cluster up afterwards")
    parser.add_argument("--name", default="demo", help="name of the cluster (default: demo)")
    args = parser.parse_args()
    try:
        demonstrate(args.name, keep=args.keep)
    except ShimError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def demonstrate(name: str, *, keep: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else 100)
    cluster = Cluster.up(name, nodes=2, steps=steps_for_stderr())
    try:
        prepare_image(cluster)
        for title, command in JOBS.items():
            console.print(f"\n[bold]{title}[/bold]\n$ {command}")
            console.print(table_of(*run_job(cluster, command)))
    finally:
        if not keep:
            cluster.down()
    if keep:
        print(f"\nThe cluster is still up:  shim cluster exec --name {name} -- bash -l")


def prepare_image(cluster: Cluster) -> None:
    recipe = load_recipe("openmpi-5.0", source_directory())
    ensure_image(recipe, ImageCache(cache_directory()), cluster, debian_mirror, steps_for_stderr())


def run_job(cluster: Cluster, command: str) -> tuple[list[Any], dict[int, Any]]:
    """What the program printed, one object per rank, and the shim's plan by rank."""
    done = cluster.run(command.split(), timeout=120)
    sys.stderr.write(done.stderr)
    if done.returncode:
        raise ShimError(f"The job ended with {done.returncode}.", "Its messages are above.")
    seen = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    plan = json.loads((cluster.shared / "plan.json").read_text())
    return seen, {rank["rank"]: rank for rank in plan["ranks"]}


def table_of(seen: list[Any], plan: dict[int, Any]) -> Table:
    table = Table(caption="the last three columns are what the program read inside the container")
    for column in (
        "rank",
        "node",
        "host pid",
        "container pid",
        "cpuset",
        "MPI",
        "OpenMP threads",
        "affinity",
    ):
        table.add_column(column, justify="left" if column in ("node", "MPI") else "right")
    for rank in seen:
        planned = plan[rank["rank"]]
        threads = ", ".join(f"{one['thread']}: {one['affinity']}" for one in rank["threads"])
        table.add_row(
            str(rank["rank"]),
            rank["host"],
            str(planned["host_pid"]),
            str(rank["pid"]),
            planned["planned"],
            rank["mpi"],
            f"{rank['omp_num_threads']} ({threads})",
            rank["affinity"],
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
