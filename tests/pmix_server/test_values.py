"""Values between Python and PMIx, under AddressSanitizer and UBSan."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.pmix_server.programs import CORE, ROOT, build_module, sanitizer_environment


def test_values_survive_the_way_through_c(tmp_path: Path) -> None:
    here = Path(__file__).parent
    names = ("values", "scalars", "to_python", "from_python")
    sources = [*(CORE / f"{name}.c" for name in names), here / "values_probe.c"]
    build_module(tmp_path / "values_probe.so", sources)
    done = subprocess.run(
        [sys.executable, str(here / "check_values.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, **sanitizer_environment(), "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.strip() == "all values came back"
