"""`shim partition`: the shares that runtimes have of this node's CPUs, while they run."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shim.control import ask, running_steps
from shim.errors import ShimError

if TYPE_CHECKING:
    from shim.cli import Subparsers

EPILOG = """examples:
  shim partition list
  shim partition set mpi=2                        give up what is beyond two cores
  shim partition set analysis=4 --from mpi        grow from free cores, then from mpi's
  srun --overlap --jobid=JOB shim partition list  on each node of a job

Partitions are declared when the step starts: shim run --partitions FILE, see docs/mapping.md.
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "partition",
        help="list or resize the partitions of a running step",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("action", choices=["list", "set"])
    parser.add_argument("size", nargs="?", metavar="NAME=SIZE", help="cores, or N%% of all")
    parser.add_argument(
        "--from", dest="donors", default="", metavar="NAMES", help="who gives: mpi,helpers"
    )
    parser.add_argument("--step", help="which step, if several run here")


def run(args: argparse.Namespace) -> int:
    reply = ask(_directory(args.step), _words(args))
    if reply.exit_code:
        print(f"shim: {reply.text}", file=sys.stderr)
    else:
        print(reply.text, end="")
    return reply.exit_code


def _words(args: argparse.Namespace) -> list[str]:
    if args.action == "list":
        return ["partition", "list"]
    name, equals, size = (args.size or "").partition("=")
    if not (name and equals and size):
        raise ShimError("What to set was not said.", "Write shim partition set NAME=SIZE.")
    return ["partition", "set", name, size, *filter(None, args.donors.split(","))]


def _directory(step: str | None) -> Path:
    steps = running_steps(os.environ)
    if step is not None:
        steps = {name: path for name, path in steps.items() if name == step}
    if not steps:
        raise ShimError(
            f"No step {step or 'of yours'} runs on this node.",
            "Run this on a node of the job: srun --overlap --jobid=JOB shim partition list.",
        )
    if len(steps) > 1:
        raise ShimError(
            f"Several steps run on this node: {', '.join(steps)}.", "Name one with --step."
        )
    return next(iter(steps.values()))
