"""`shim run`: read the job, and become srun or the agent of this node."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from shim.errors import ShimError
from shim.mapping_words import AS_USUAL
from shim.run.files import with_files
from shim.run.launch import plan_launch
from shim.run.spec import parse_run

HELP = """Usage: shim run [-n N] [OPTIONS] IMAGE COMMAND [ARG...] [: ...]
       shim run [-n N] [OPTIONS] --native COMMAND [ARG...] [: ...]

Map N ranks over the nodes of the allocation (or of a prterun launch, or this machine), start one
agent and one container per node, and run the ranks in it. Programs of one MPI job are separated
by a colon.

Options:
  -n, --ntasks N             ranks of this program (default: one per core of the allocation)
      --ppn N                at most N ranks on a node, nodes filled in turn
  -t, --threads N            OpenMP threads per rank
      --map-by, --rank-by, --bind-to, --cpus-per-rank, --smt, --reserve, --gpus-per-rank,
      --mem-bind, --cpu-bind, --rankfile
                             who sits where: the options of `shim map`, which shows the plan
      --oversubscribe        allow more ranks than the CPUs can take
      --native               the program runs outside any container
      --report-bindings[=FILE]  print who sits where, or write it to FILE as JSON
and the options of `shim exec`, which see.

Examples:
  shim run -n 8 --threads 4 app.sif ./app
  shim run --ppn 2 --bind /scratch app.sif ./app input.dat
  shim run -n 3 app.sif ./solver : -n 1 --native ./monitor

Exit code: the highest of the ranks' (128+N for a rank that died by signal N); 125 when the shim
could not start them.
"""


def run(args: argparse.Namespace) -> int:
    if not args.words or args.words[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0 if args.words else 2
    spec = with_files(parse_run(args.words), os.getcwd())
    if spec.mapping != AS_USUAL:
        from shim.mapper import check_words  # loads the mapper, which is rarely needed here

        check_words(spec.mapping)
    launch = plan_launch(spec, os.environ, program())
    try:
        os.execvpe(launch.argv[0], launch.argv, launch.env)
    except FileNotFoundError as error:
        raise ShimError(
            f"{launch.argv[0]} was not found.",
            "Load the environment that has Slurm's commands on PATH, or run outside the job.",
        ) from error


def program() -> str:
    """The `shim` command that belongs to this package: its own word first, then beside the
    interpreter, then on PATH."""
    beside = Path(sys.executable).with_name("shim")
    found = os.environ.get("SHIM_PROGRAM") or (str(beside) if beside.exists() else None)
    found = found or shutil.which("shim")
    if not found:
        raise ShimError("The command `shim` was not found.", "Install the package: pip install .")
    return found
