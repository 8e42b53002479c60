"""Finding and loading libpmix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pmix_server import PmixError, library
from tests.pmix_server.programs import LIBRARIES, ROOT


def test_a_named_file_is_taken() -> None:
    wheel = LIBRARIES["wheel"]
    assert library.find({library.SERVER_VARIABLE: str(wheel)}) == wheel


def test_the_clients_own_variable_wins_for_the_client() -> None:
    env = {
        library.SERVER_VARIABLE: str(LIBRARIES["debian"]),
        library.CLIENT_VARIABLE: str(LIBRARIES["wheel"]),
    }
    assert library.find_client(env) == LIBRARIES["wheel"]
    del env[library.CLIENT_VARIABLE]
    assert library.find_client(env) == LIBRARIES["debian"]


def test_a_named_file_that_is_missing_is_an_error_with_a_remedy() -> None:
    with pytest.raises(PmixError, match="/no/such/file") as error:
        library.find({library.SERVER_VARIABLE: "/no/such/file"})
    assert "Install libpmix" in error.value.hint


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("OpenPMIx 4.2.2rc2 (PMIx Standard: 4.1, Stable ABI: 0.0)", (4, 2, 2)),
        ("OpenPMIx 5.0.11, repo rev: gitv5.0.11", (5, 0, 11)),
    ],
)
def test_versions_are_read_as_libpmix_says_them(text: str, version: tuple[int, ...]) -> None:
    assert library.parse_version(text) == version


def in_a_process(code: str) -> str:
    """What a fresh interpreter prints: a process loads libpmix once."""
    done = subprocess.run(
        [sys.executable, "-c", "from pathlib import Path\nfrom pmix_server import *\n" + code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", LIBRARIES)
def test_both_roles_load_from_one_file_as_two_copies(name: str) -> None:
    said = in_a_process(
        "from pmix_server import library\n"
        f"path = Path({str(LIBRARIES[name])!r})\n"
        "a, b = library.load_server(path), library.load_client(path)\n"
        "print(a.version == b.version)\n"
        "maps = Path('/proc/self/maps').read_text()\n"
        "print('memfd:libpmix-client' in maps and str(path.name) in maps)\n"
    )
    assert said.split() == ["True", "True"]


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "libpmix.so.2"
    bad.write_text("not a library")
    said = in_a_process(
        "from pmix_server import library\n"
        f"try:\n    library.load_server(Path({str(bad)!r}))\n"
        "except PmixError as error:\n    print(error.message)\n"
    )
    assert "cannot be loaded" in said


def test_a_library_that_is_not_libpmix_is_refused() -> None:
    said = in_a_process(
        "import ctypes.util, pmix_server.library as library\n"
        "path = next(Path(line.split()[-1]) for line in open('/proc/self/maps') "
        "if 'libc.so.6' in line)\n"
        "try:\n    library.load_server(path)\n"
        "except PmixError as error:\n    print(error.message)\n"
    )
    assert "has no function PMIx_" in said


def test_a_second_library_for_the_same_role_is_refused() -> None:
    said = in_a_process(
        "from pmix_server import library\n"
        f"library.load_server(Path({str(LIBRARIES['debian'])!r}))\n"
        f"try:\n    library.load_server(Path({str(LIBRARIES['wheel'])!r}))\n"
        "except PmixError as error:\n    print(error.hint)\n"
    )
    assert "another process" in said
