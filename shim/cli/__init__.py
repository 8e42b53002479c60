"""The command line: one module per subcommand, imported only when it is the one asked for.

A subcommand module offers `add_parser(subparsers)` and `run(args) -> int`. Loading them lazily
keeps `shim --help` and the agent's start free of libraries that they do not use.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import TypeAlias

from shim import __version__
from shim.errors import ShimError

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What a subcommand's `add_parser` adds itself to."""

COMMANDS: dict[str, tuple[str, str]] = {
    "exec": ("shim.cli.exec", "run a program in the node's container, as this task of the step"),
    "run": ("shim.cli.run", "map and launch N ranks, one agent per node"),
    "cluster": ("shim.cli.cluster", "a private Slurm cluster on this machine"),
    "image": ("shim.cli.image", "build the images of singularity-defs/"),
    "map": ("shim.cli.map", "show who would sit where, without running anything"),
    "partition": ("shim.cli.partition", "list or resize the partitions of a running step"),
    "report": ("shim.cli.report", "plan against what the kernel says, per rank"),
}
"""Subcommand → (module, one-line help), in the order of `shim --help`."""

OWN_SYNTAX = frozenset({"exec", "run"})
"""They read their words themselves: options of the container and of a program follow each other,
which argparse cannot express."""

EPILOG = """examples:
  srun --mpi=pmix -n 8 shim exec app.sif ./app     in a job script, in place of singularity exec
  shim run -n 8 --threads 4 app.sif ./app          inside salloc or sbatch, or on a laptop
  shim cluster up                                  a private Slurm cluster to try it on
"""


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser for *command*; with None, the overview that lists every command."""
    parser = argparse.ArgumentParser(
        prog="shim",
        description="On-node resource manager for containerised HPC jobs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"shim {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, help_text) in COMMANDS.items():
        if name == command and name not in OWN_SYNTAX:
            importlib.import_module(module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=help_text)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one subcommand; returns its exit code. A `ShimError` becomes two sentences."""
    command = next((word for word in argv if not word.startswith("-")), None)
    if command in OWN_SYNTAX and argv[0] == command:
        args = argparse.Namespace(command=command, words=list(argv[1:]))
    else:
        args = build_parser(command).parse_args(argv)
    module = importlib.import_module(COMMANDS[args.command][0])
    try:
        code: int = module.run(args)
    except ShimError as error:
        print(f"shim: {error.message}\n      {error.hint}".rstrip(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    return code
