"""`python -m shim`: every subcommand but the hot path of `shim exec`, which is C."""

from __future__ import annotations

import sys

from shim.cli import main

sys.exit(main(sys.argv[1:]))
