"""`shim exec --help`; running it is the C front-end's job (c_ext/frontend), not Python's."""

from __future__ import annotations

import argparse

from shim.errors import ShimError
from shim.options import help_text


def run(args: argparse.Namespace) -> int:
    """Print the help. Python sees a `shim exec` that should run only when C was bypassed."""
    if args.words and args.words[0] not in ("-h", "--help"):
        raise ShimError(
            "`python -m shim exec` cannot become a rank: that is done by the C program.",
            "Call the command `shim` that was installed beside this package.",
        )
    print(help_text(), end="")
    return 0
