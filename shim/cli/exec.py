"""`shim exec --help`; running it is the C front-end's job (c_ext/frontend), not Python's."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from shim.errors import ShimError
from shim.options import help_text

if TYPE_CHECKING:
    from shim.cli import Subparsers


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("exec", add_help=False)
    parser.add_argument("words", nargs=argparse.REMAINDER)


def run(args: argparse.Namespace) -> int:
    """Print the help. Python sees a `shim exec` that should run only when C was bypassed."""
    if args.words and args.words[0] not in ("-h", "--help"):
        raise ShimError(
            "`python -m shim exec` cannot become a rank: that is done by the C program.",
            "Call the command `shim` that was installed beside this package.",
        )
    print(help_text(), end="")
    return 0
