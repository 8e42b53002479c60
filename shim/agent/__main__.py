"""`python -m shim.agent`: started by the guard only (c_ext/frontend/agent_process.c)."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from shim.agent.guard import GuardPipe
from shim.agent.narration import narrate
from shim.agent.session import Session
from shim.agent.settings import VOICE_VARIABLE, Settings, read_settings
from shim.errors import ShimError

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
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.WARNING)
    try:
        return asyncio.run(_serve(settings))
    except ShimError as error:
        GuardPipe(settings.guard_fd, settings.voice_fd).fatal(error.exit_code, str(error))
        return error.exit_code


async def _serve(settings: Settings) -> int:
    session = _session(settings)
    if settings.verbose:
        narrate(session.voice.say, session.context.node)
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, session.terminate, number)
    return await session.run()


def _session(settings: Settings) -> Session:
    if settings.spec is not None:
        from shim.agent.run_session import RunSession

        return RunSession(settings, os.environ)
    if settings.options is not None:
        from shim.agent.exec_session import ExecSession

        return ExecSession(settings, os.environ)
    raise ShimError(
        "The agent was told neither a job nor a container.",
        "Use `shim run` or `shim exec`; `shim _agent` is internal.",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
