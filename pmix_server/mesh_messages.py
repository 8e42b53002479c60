"""Messages between agents: their shape, who handles which kind, and which answer belongs to which
request. Shared by every `pmix_server.mesh.Mesh`.

A body is any value that msgpack can carry: None, bool, int, float, str, bytes, and lists and
string-keyed mappings of these. Lists arrive as lists even where a tuple was sent.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from pmix_server.errors import PmixError
from pmix_server.status import Status

log = logging.getLogger(__name__)

Body: TypeAlias = Any
"""A msgpack-able value; its shape is the business of the message's kind."""

Handler: TypeAlias = Callable[[int, Body], Any]
"""Called with (sending node, body) on the event loop; must not block. What it returns, or what
the awaitable it returns gives, is the answer if the message was a request."""

LostCallback: TypeAlias = Callable[[int, str], None]
"""Called once per node that left or was lost, with (node, reason as one clause)."""

HELD_PER_KIND = 16384
"""Messages of a kind without a subscriber that are kept for it; see `Dispatcher.deliver`."""


class MeshError(PmixError):
    """A message could not be delivered or a request was not answered.

    `status` is what to give to the client whose call depended on it.
    """


class NodeGone(MeshError):
    """The node has left the job or was lost."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=Status.ERR_LOST_CONNECTION)


class RequestTimeout(MeshError):
    """No answer within the time that the caller allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=Status.ERR_TIMEOUT)


class RequestFailed(MeshError):
    """The other node's handler raised; `status` and message are those of its exception."""


class Envelope(NamedTuple):
    """One message. *correlation* > 0: a request; < 0: the answer to request -correlation."""

    source: int
    kind: str
    correlation: int
    body: Body


ANSWER = "mesh.answer"
FAILURE = "mesh.failure"


@dataclass
class Dispatcher:
    """Incoming messages to handlers, answers to requests, losses to all who wait.

    Args:
        transmit: puts an answer on its way to a node; must not raise for a node that is gone.
    """

    transmit: Callable[[int, Envelope], None]
    index: int = 0
    _handlers: dict[str, Handler] = field(default_factory=dict)
    _held: dict[str, list[Envelope]] = field(default_factory=dict)
    _pending: dict[int, tuple[int, asyncio.Future[Body]]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _lost_callbacks: list[LostCallback] = field(default_factory=list)
    _tasks: set[asyncio.Future[Body]] = field(default_factory=set)
    _closed: bool = False

    def subscribe(self, kind: str, handler: Handler) -> None:
        if kind in self._handlers:
            raise ValueError(f"the message kind {kind} has a handler already")
        self._handlers[kind] = handler
        for envelope in self._held.pop(kind, ()):
            self.deliver(envelope)

    def on_lost(self, callback: LostCallback) -> None:
        self._lost_callbacks.append(callback)

    def open_request(self, node: int, kind: str, body: Body) -> Envelope:
        """A request's envelope; `wait` for it next."""
        number = next(self._numbers)
        self._pending[number] = (node, asyncio.get_running_loop().create_future())
        return Envelope(self.index, kind, number, body)

    async def wait(self, request: Envelope, timeout: float | None) -> Body:
        """The answer to *request*; forgets the request however this ends."""
        node, answer = self._pending[request.correlation]
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise RequestTimeout(
                f"Node {node} did not answer {request.kind} within {timeout} s."
            ) from None
        finally:
            self._pending.pop(request.correlation, None)

    def abandon(self, request: Envelope) -> None:
        """Forget a request that could not be sent."""
        self._pending.pop(request.correlation, None)

    def deliver(self, envelope: Envelope) -> None:
        """Hand an incoming message to whom it is for.

        A peer that was quicker than we are may use a kind before our side has subscribed to it
        (the first fence of a small job does), so such messages wait for the subscriber.
        """
        if self._closed:
            return
        if envelope.correlation < 0:
            self._settle(envelope)
            return
        handler = self._handlers.get(envelope.kind)
        if handler is None:
            held = self._held.setdefault(envelope.kind, [])
            if len(held) < HELD_PER_KIND:
                held.append(envelope)
            else:
                log.error("dropped a message of kind %s: nobody handles it", envelope.kind)
            return
        try:
            result = handler(envelope.source, envelope.body)
        except Exception as error:
            self._fail(envelope, error)
            return
        if isinstance(result, Awaitable):
            self._answer_later(envelope, result)
        elif envelope.correlation:
            self._answer(envelope, ANSWER, result)

    def lose(self, node: int, reason: str) -> None:
        """*node* is gone: end what waits for it, tell who asked to be told."""
        for waiting_for, answer in list(self._pending.values()):
            if waiting_for == node and not answer.done():
                answer.set_exception(NodeGone(f"Node {node} is gone: {reason}."))
        for callback in self._lost_callbacks:
            try:
                callback(node, reason)
            except Exception:
                log.exception("a callback for the loss of node %d failed", node)

    async def close(self) -> None:
        """End handlers that still run and requests that still wait; take no more messages."""
        self._closed = True
        for _, answer in self._pending.values():
            answer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _settle(self, envelope: Envelope) -> None:
        _, answer = self._pending.get(-envelope.correlation, (0, None))
        if answer is None or answer.done():
            return  # the caller has given up
        if envelope.kind == ANSWER:
            answer.set_result(envelope.body)
        else:
            status, message = envelope.body
            answer.set_exception(RequestFailed(message, status=status))

    def _answer_later(self, envelope: Envelope, result: Awaitable[Body]) -> None:
        task = asyncio.ensure_future(result)
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(functools.partial(self._answered, envelope))

    def _answered(self, envelope: Envelope, task: asyncio.Future[Body]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Exception):
            self._fail(envelope, error)
        elif envelope.correlation:
            self._answer(envelope, ANSWER, task.result())

    def _fail(self, envelope: Envelope, error: Exception) -> None:
        if envelope.correlation:
            status = getattr(error, "status", Status.ERROR)
            self._answer(envelope, FAILURE, [int(status), str(error)])
        else:
            log.error("the handler of %s failed", envelope.kind, exc_info=error)

    def _answer(self, request: Envelope, kind: str, body: Body) -> None:
        self.transmit(request.source, Envelope(self.index, kind, -request.correlation, body))
