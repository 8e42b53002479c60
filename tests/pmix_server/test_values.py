"""Values between Python and PMIx, under AddressSanitizer and UBSan."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.pmix_server.programs import ROOT

CORE = ROOT / "c_ext" / "pmixcore"


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the module `values_probe`, built with the sanitizers."""
    directory = tmp_path_factory.mktemp("values")
    flags = subprocess.run(
        ["pkg-config", "--cflags", "pmix"], capture_output=True, text=True, check=True
    ).stdout.split()
    sources = [CORE / "values.c", CORE / "convert.c", Path(__file__).with_name("values_probe.c")]
    command = ["gcc", "-std=gnu11", "-g", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    command += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", *flags]
    command += [f"-I{CORE}", f"-I{sysconfig.get_path('include')}", *map(str, sources)]
    subprocess.run([*command, "-o", str(directory / "values_probe.so")], check=True)
    return directory


def sanitizer_environment() -> dict[str, str]:
    """An interpreter that is not built with the sanitizer needs its runtime first. CPython's own
    allocations at exit are no leaks of ours."""
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(ROOT),
    }


def test_values_survive_the_way_through_c(probe: Path) -> None:
    script = Path(__file__).with_name("check_values.py")
    done = subprocess.run(
        [sys.executable, str(script), str(probe)],
        capture_output=True,
        text=True,
        env=sanitizer_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.strip() == "all values came back"
