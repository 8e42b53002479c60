"""``python -m testbed ACTION``: ``shim cluster`` from a checkout that is not installed."""

import argparse
import sys

from shim.cli import cluster
from shim.errors import ShimError


def main() -> int:
    """Parse and run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m testbed")
    cluster.add_parser(parser.add_subparsers(required=True))
    try:
        return cluster.run(parser.parse_args(["cluster", *sys.argv[1:]]))
    except ShimError as error:
        print(f"shim: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
