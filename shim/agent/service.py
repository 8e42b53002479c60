"""The agent on its event loop: one session, and the signals that reach it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from shim.agent.exec_session import ExecSession
from shim.agent.session import Session
from shim.agent.settings import Settings
from shim.container.spawn import Spawned
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


def serve(settings: Settings, spawned: Spawned | None) -> int:
    """Serve until the last rank is gone; returns the agent's exit code.

    Args:
        spawned: the container, if it had a head start.

    Raises:
        ShimError: nothing could be begun.
    """
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.WARNING)
    # Not asyncio.run, which waits for every thread at the end, those that hang in libpmix too.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(_serve(settings, spawned))


async def _serve(settings: Settings, spawned: Spawned | None) -> int:
    session = _session(settings, spawned)
    if settings.verbose:
        from shim.agent.narration import narrate

        narrate(session.voice.say, session.context.node)
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, session.terminate, number)
    return await session.run()


def _session(settings: Settings, spawned: Spawned | None) -> Session:
    if settings.options is not None:
        return ExecSession(settings, os.environ, spawned)
    if settings.spec is not None:
        from shim.agent.run_session import RunSession

        return RunSession(settings, os.environ, spawned)
    raise ShimError(
        "The agent was told neither a job nor a container.",
        "Use `shim run` or `shim exec`; `shim _agent` is internal.",
    )
