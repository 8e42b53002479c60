"""The helper process of the agent mode: a libpmix client behind a socket.

    python -m pmix_server.upstream.helper DESCRIPTOR

It holds the only libpmix of its process, so nothing of the two-copies mode is needed. When the
agent closes the socket, or dies, it finalizes and ends: Slurm does not kill the step then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from dataclasses import asdict
from typing import Any

from pmix_server.errors import PmixError
from pmix_server.status import Status
from pmix_server.upstream import wire
from pmix_server.upstream.isolated import IsolatedUpstream

_FATAL_TO_THE_AGENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def _do(upstream: IsolatedUpstream, method: str, args: list[Any]) -> Any:
    match method:
        case "connect":
            return asdict(await upstream.connect())
        case "publish":
            return await upstream.publish(*args)
        case "fetch":
            return await upstream.fetch(*args)
        case "abort":
            return await upstream.abort(*args)
        case "finalize":
            return await upstream.finalize()
    raise PmixError(f"The helper knows no {method}.", status=Status.ERR_NOT_SUPPORTED)


async def _answer(
    upstream: IsolatedUpstream, writer: asyncio.StreamWriter, message: list[Any]
) -> None:
    number, method, args = message
    try:
        reply = [number, True, await _do(upstream, method, args)]
    except PmixError as error:
        reply = [number, False, [error.message, error.hint, error.status]]
    except Exception as error:  # the agent must hear of it rather than wait
        reply = [number, False, [f"The PMIx helper failed: {error}.", "", int(Status.ERROR)]]
    writer.write(wire.encode(reply))
    await writer.drain()


async def serve(descriptor: int) -> None:
    """Answer the agent until it closes."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    upstream = IsolatedUpstream(dict(os.environ), private=False)
    tasks: set[asyncio.Task[None]] = set()
    while (message := await wire.read(reader)) is not None:
        task = asyncio.create_task(_answer(upstream, writer, message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await upstream.finalize()


if __name__ == "__main__":
    # The agent decides when it is over; signals to the process group are for the agent.
    for number in _FATAL_TO_THE_AGENT:
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(serve(int(sys.argv[1])))
