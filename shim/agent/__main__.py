"""`python -m shim.agent`: started by the guard only (c_ext/frontend/agent_process.c)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shim.agent.guard import GuardPipe
from shim.agent.settings import VOICE_VARIABLE, Settings, read_settings
from shim.container.headstart import head_start, widen_affinity
from shim.errors import ShimError

if TYPE_CHECKING:
    from shim.agent.session import Session
    from shim.container.spawn import Spawned

_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
)


def main(argv: Sequence[str]) -> int:
    settings = read_settings(argv, os.environ)
    os.environ.pop(VOICE_VARIABLE, None)
    spawned = _head_start(settings)
    # Loaded while the container starts; see headstart.py.
    import asyncio
    import logging

    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.WARNING)
    try:
        return asyncio.run(_serve(settings, spawned))
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


async def _serve(settings: Settings, spawned: Spawned | None) -> int:
    import asyncio

    session = _session(settings, spawned)
    if settings.verbose:
        from shim.agent.narration import narrate

        narrate(session.voice.say, session.context.node)
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, session.terminate, number)
    return await session.run()


def _session(settings: Settings, spawned: Spawned | None) -> Session:
    if settings.spec is not None:
        from shim.agent.run_session import RunSession

        return RunSession(settings, os.environ, spawned)
    if settings.options is not None:
        from shim.agent.exec_session import ExecSession

        return ExecSession(settings, os.environ, spawned)
    raise ShimError(
        "The agent was told neither a job nor a container.",
        "Use `shim run` or `shim exec`; `shim _agent` is internal.",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
