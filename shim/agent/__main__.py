"""`python -m shim.agent`: started by the guard only (c_ext/frontend/agent_process.c).

What stands here is about the time until the ranks run. Most of it goes into loading Python
modules, which make many objects and free none: collecting garbage meanwhile costs 20 ms of 150.
"""

from __future__ import annotations

import gc

gc.disable()

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from shim.agent.guard import GuardPipe
from shim.agent.settings import VOICE_VARIABLE, Settings, read_settings
from shim.container.headstart import head_start, widen_affinity
from shim.container.spawn import Spawned
from shim.errors import ShimError


def main(argv: Sequence[str]) -> int:
    settings = read_settings(argv, os.environ)
    os.environ.pop(VOICE_VARIABLE, None)
    spawned = _head_start(settings)
    try:
        with _without_tls():
            from shim.agent.service import serve
        gc.freeze()
        gc.enable()
        return serve(settings, spawned)
    except ShimError as error:
        GuardPipe(settings.guard_fd, settings.voice_fd).fatal(error.exit_code, str(error))
        return error.exit_code


def _head_start(settings: Settings) -> Spawned | None:
    options = settings.first_container
    if options is None:
        return None
    if settings.options:
        widen_affinity(os.environ)
    cwd = os.environ.get("PWD") or os.getcwd()
    return head_start(options, os.environ, cwd, settings.run_dir)


@contextmanager
def _without_tls() -> Iterator[None]:
    """asyncio loads OpenSSL if it can (8 ms) and does without if it cannot. Agents speak to each
    other through ZeroMQ's CURVE, so nothing of it is used."""
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]  # None: not importable
    absent = "ssl" not in modules
    if absent:
        modules["ssl"] = None
    try:
        yield
    finally:
        if absent:
            del modules["ssl"]


def leave(code: int) -> NoReturn:
    """End at once: a libpmix call towards a launcher that is gone may hold a thread for seconds,
    for which an ordinary exit waits."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
