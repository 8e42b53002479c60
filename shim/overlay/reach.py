"""Reaching an agent at one of its addresses, and finding out why it cannot be reached."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass

from pmix_server.mesh import AGENT_DIED
from shim.overlay.endpoint import Endpoint
from shim.overlay.transport import LinkFailed, Transport

PROBE_SECONDS = 0.5
"""Bound on finding out why a link broke; together with the 4 s of the kernel still below 5 s."""

PATIENCE_SECONDS = 4.0
"""How long an agent that cannot be reached is tried again: as long as an outage that an open link
survives (see sockets.py)."""

PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Finding:
    """Why there is no link, as a clause; *dead* if the agent is known to have ended."""

    text: str
    dead: bool


async def connect_any(transport: Transport, endpoint: Endpoint) -> tuple[int, str]:
    """Open a link by the first of the addresses that works; give its number and the address.

    Raises:
        LinkFailed: none works; the text names each address with its reason.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while True:
        failures: dict[str, LinkFailed] = {}
        for address in endpoint.addresses:
            try:
                return await transport.connect(address, endpoint.server_key), address
            except LinkFailed as error:
                failures[address] = error if error.final else await _explain(address)
        final = all(error.final for error in failures.values())
        if final or loop.time() >= deadline:
            text = "; ".join(f"{address}: {error}" for address, error in failures.items())
            raise LinkFailed(text, final=final)
        await asyncio.sleep(PAUSE_SECONDS)


async def _explain(address: str) -> LinkFailed:
    found = await examine(address)
    return LinkFailed(found.text, final=found.dead)


async def examine(address: str) -> Finding:
    """Why there may be no link to the agent at *address* ("tcp://host:port").

    A live agent greets whoever connects (ZMTP's signature comes first). The kernel closes a dead
    process's descriptors one after the other, so its port may still take a connection for a
    moment, but then it ends without a greeting.
    """
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connected = False
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await loop.sock_connect(probe, (host, int(port)))
                connected = True
                greeting = await loop.sock_recv(probe, 1)
        except TimeoutError:
            if connected:
                return Finding("the connection to its agent broke", dead=False)
            return Finding("the node does not answer on the network", dead=False)
        except OSError as error:
            if connected or error.errno in (errno.ECONNREFUSED, errno.ECONNRESET):
                return Finding(AGENT_DIED, dead=True)
            return Finding(f"the node cannot be reached ({error.strerror})", dead=False)
    if greeting:
        return Finding("the connection to its agent broke", dead=False)
    return Finding(AGENT_DIED, dead=True)
