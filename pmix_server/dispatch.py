"""Which method of the host answers which request, and how failures become statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from pmix_server import keys
from pmix_server._pmixcore import Request
from pmix_server.host import Host
from pmix_server.service import Handler, Reply, Service
from pmix_server.status import Status
from pmix_server.values import Proc, find

log = logging.getLogger(__name__)


async def _fence(host: Host, request: Request, timeout: float | None) -> bytes:
    procs = [Proc(*proc) for proc in request.procs]
    collect = bool(find(request.infos, keys.COLLECT_DATA))
    status = find(request.infos, keys.LOCAL_COLLECTIVE_STATUS) or Status.SUCCESS
    return await host.fence(procs, request.data, collect, timeout, status=int(status))


async def _direct_modex(host: Host, request: Request, timeout: float | None) -> bytes:
    return await host.direct_modex(Proc(*request.source), timeout)


async def _abort(host: Host, request: Request, timeout: float | None) -> None:
    procs = [Proc(*proc) for proc in request.procs]
    await host.abort(Proc(*request.source), request.status, request.text, procs)


ANSWERS: dict[str, Callable[[Host, Request, float | None], Awaitable[bytes | None]]] = {
    "fence": _fence,
    "direct_modex": _direct_modex,
    "abort": _abort,
}
"""By the name that c_ext/pmixcore/upcalls.c gives to an upcall."""


def handlers(host: Host, services: Iterable[Service]) -> dict[str, Handler]:
    """Who answers which kind of request."""
    table: dict[str, Handler] = {kind: partial(call, host) for kind, call in ANSWERS.items()}
    for service in services:
        table.update(service.answers)
    return table


NOTICES: dict[str, Callable[[Host, Proc], None]] = {
    "client_connected": lambda host, proc: host.client_connected(proc),
    "client_finalized": lambda host, proc: host.client_finalized(proc),
}
"""Upcalls that libpmix was answered already."""


def time_limit(request: Request) -> float | None:
    """PMIX_TIMEOUT in seconds; None where the rank set none (0 means none, too)."""
    seconds = find(request.infos, keys.TIMEOUT)
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None


async def answer(handler: Handler, request: Request) -> None:
    """Answer one request, whatever happens, exactly once.

    Without PMIX_TIMEOUT there is no limit: ranks may rightly reach a fence hours apart. What
    can never be answered any more ends by the loss of its node or by the server's stop.
    """
    limit = time_limit(request)
    status = int(Status.ERROR)
    payload: Any = None
    try:
        async with asyncio.timeout(limit):
            payload = await handler(request, limit)
        status = Status.SUCCESS
        if isinstance(payload, Reply):
            status, payload = payload.status, payload.payload
    except TimeoutError:
        status = Status.ERR_TIMEOUT
    except asyncio.CancelledError:
        status = Status.ERR_NOT_AVAILABLE
        raise
    except Exception as error:
        status = getattr(error, "status", Status.ERROR)
        log.warning("%s of %s ended with %d: %s", request.kind, request.source, status, error)
    finally:
        request.answer(status, payload)
