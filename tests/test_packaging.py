"""The package as a user installs it: a wheel into a fresh virtual environment."""

from __future__ import annotations

import struct
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PT_LOAD, PT_INTERP = 1, 3
ROOMS = ("shim", "pmix_server", "cpusets", "meow_bridge", "testbed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the files that git knows, as in a fresh clone."""
    source = tmp_path_factory.mktemp("source")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(out), str(source)],
        check=True,
    )
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` directory of a fresh environment with the wheel and nothing else in it."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", str(wheel)], check=True)
    return home / "bin"


def test_the_wheel_holds_all_rooms_and_the_compiled_parts(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for room in ROOMS:
        assert f"{room}/__init__.py" in names
    assert any(name.startswith("pmix_server/_pmixcore.") and name.endswith(".so") for name in names)
    assert any(name.endswith(".data/scripts/shim") for name in names)
    assert any(name.endswith("share/shim/singularity-defs/openmpi-5.0.def") for name in names)
    assert any(name.endswith("share/shim/examples/hybrid/hybrid.c") for name in names)


def test_the_wheel_carries_what_the_cluster_installs_into_its_nodes(
    wheel: Path, tmp_path: Path
) -> None:
    archive = zipfile.ZipFile(wheel).extract("testbed/_source.tar.gz", tmp_path)
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert {"setup.py", "pyproject.toml", "README.md", "c_ext/frontend/main.c"} <= set(names)
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


def test_the_command_is_a_static_c_program(installed: Path) -> None:
    """It asks for no dynamic loader (PT_INTERP, elf(5)), since it must run inside any image."""
    program = (installed / "shim").read_bytes()
    assert program.startswith(b"\x7fELF")
    table, size, count = struct.unpack_from("<Q14xHH", program, 32)
    kinds = [struct.unpack_from("<I", program, table + size * at)[0] for at in range(count)]
    assert PT_LOAD in kinds
    assert PT_INTERP not in kinds


def test_shim_exec_starts_without_python(installed: Path) -> None:
    """The refusal of an unknown option comes from C: no interpreter is there to run."""
    done = subprocess.run(
        [installed / "shim", "exec", "--no-such-option", "image.sif", "true"],
        env={"SHIM_PYTHON": "/nonexistent/python"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 125
    assert "--no-such-option" in done.stderr


@pytest.mark.parametrize("words", ["--version", "--help", "exec --help", "run --help"])
def test_the_other_words_reach_python(installed: Path, words: str) -> None:
    command = [str(installed / "shim"), *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, env={})
    assert (done.returncode, done.stderr) == (0, "")
    assert "shim" in done.stdout
