"""What one copy of libpmix reports, delivered to the event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any

from pmix_server import _pmixcore
from pmix_server.errors import PmixError
from pmix_server.status import Status

log = logging.getLogger(__name__)

RequestHandler = Callable[[_pmixcore.Request], None]


class Channel:
    """Requests of ranks and completions of our own calls, from libpmix's threads to the loop.

    Args:
        role: _pmixcore.SERVER or _pmixcore.CLIENT.
        on_request: called on the loop for each request; must not block.
    """

    def __init__(self, role: int, on_request: RequestHandler | None = None) -> None:
        self._role = role
        self._on_request = on_request
        self._tokens = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._fd = -1

    def open(self) -> None:
        """Start delivering to the running loop."""
        self._fd = _pmixcore.queue_fd(self._role)
        asyncio.get_running_loop().add_reader(self._fd, self.deliver)

    def close(self) -> None:
        """Stop delivering; calls that still wait fail."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._fd = -1
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(
                    PmixError("The PMIx connection was closed.", status=Status.ERR_LOST_CONNECTION)
                )
        self._waiting.clear()

    def deliver(self) -> None:
        """Hand over everything that is queued."""
        for item in _pmixcore.drain(self._role):
            if isinstance(item, _pmixcore.Request):
                self._handle(item)
            else:
                self._settle(*item)

    async def call(self, what: str, start: Callable[..., None], *args: object) -> Any:
        """Start one outgoing call and wait for its completion.

        Args:
            what: the call in words, for the error.
            start: a function of _pmixcore that takes a token first.

        Raises:
            PmixError: with libpmix's status.
        """
        token = next(self._tokens)
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[token] = waiting
        try:
            start(token, *args)
            status, payload = await waiting
        except _pmixcore.PMIxError as error:
            raise PmixError.of_call(what, error.args[0]) from None
        finally:
            self._waiting.pop(token, None)
        if status not in (Status.SUCCESS, Status.OPERATION_SUCCEEDED):
            raise PmixError.of_call(what, status)
        return payload

    def _settle(self, token: int, status: int, payload: object) -> None:
        waiting = self._waiting.get(token)
        if waiting is not None and not waiting.done():
            waiting.set_result((status, payload))

    def _handle(self, request: _pmixcore.Request) -> None:
        try:
            if self._on_request is None:
                request.answer(Status.ERR_NOT_SUPPORTED)
            else:
                self._on_request(request)
        except Exception:
            log.exception("a %s request could not be handled", request.kind)
            request.answer(Status.ERROR)
