"""ZeroMQ sockets on asyncio: one to receive, one to send, CURVE on both.

Every agent binds one DEALER, on which it only receives, and sends over one ROUTER, which it
connects to each peer it has something for. A link is one such connection: one direction, ordered,
never re-made. Re-connecting would hide that messages were lost, so a broken link is the peer's
loss, and what is broken is found by the kernel (see sockets.py).

The sockets are the plain ones driven by their descriptors, not zmq.asyncio's: a message costs one
callback instead of several futures.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
from collections.abc import Callable, Sequence

import zmq
from zmq.utils.monitor import parse_monitor_message

from shim.overlay.addresses import as_tcp
from shim.overlay.sockets import (
    CONNECT_MS,
    HANDSHAKE_MS,
    CurvePair,
    answer_zap,
    make_gate,
    make_incoming,
    make_outgoing,
)

log = logging.getLogger(__name__)

MESSAGES_PER_TURN = 64
"""Messages taken before other callbacks of the loop have their turn."""

OnFrame = Callable[[bytes], None]
OnBroken = Callable[[int], None]


class LinkFailed(Exception):
    """A connection could not be made; the text says why, as a clause.

    Attributes:
        final: another try would fail in the same way.
    """

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class Transport:
    """The sockets of one agent.

    Args:
        client: the pair that every agent of the job uses as client, and the only one let in.
        on_frame: gets every message received.
        on_broken: gets the number of a link that was open and is not any more.
    """

    def __init__(self, client: CurvePair, on_frame: OnFrame, on_broken: OnBroken) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._server = CurvePair.make()
        self._on_frame = on_frame
        self._on_broken = on_broken
        self._numbers = itertools.count(1)
        self._connecting: dict[str, tuple[int, asyncio.Future[int]]] = {}
        self._open: dict[str, int] = {}
        self._context = zmq.Context(io_threads=1)
        self._context.set(zmq.ContextOption.MAX_SOCKETS, 16)
        self._gate = make_gate(self._context)
        self._incoming = make_incoming(self._context, self._server)
        self._outgoing = make_outgoing(self._context, client)
        self._watch = self._outgoing.get_monitor_socket(
            zmq.Event.HANDSHAKE_SUCCEEDED
            | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
            | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
            | zmq.Event.HANDSHAKE_FAILED_AUTH
            | zmq.Event.CLOSED
            | zmq.Event.DISCONNECTED
        )
        self._readers: dict[int, zmq.Socket[bytes]] = {}
        self._read(self._gate, self._admit)
        self._read(self._incoming, self._receive)
        self._read(self._outgoing, self._process_commands)
        self._read(self._watch, self._see_events)

    @property
    def server_key(self) -> bytes:
        return self._server.public

    def listen(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Bind an ephemeral port on each address that can be bound; give the TCP endpoints.

        Raises:
            OSError: none of the addresses could be bound.
        """
        bound: list[str] = []
        failure: OSError | None = None
        for address in addresses:
            self._incoming.ipv6 = ":" in address
            try:
                self._incoming.bind(as_tcp(address, "*"))
            except zmq.ZMQError as error:
                failure = OSError(error.errno, f"{error.strerror} ({address})")
                continue
            endpoint = self._incoming.get(zmq.LAST_ENDPOINT)
            bound.append(bytes(endpoint).rstrip(b"\0").decode())
        if not bound:
            raise failure or OSError("there is no address to listen on")
        return tuple(bound)

    async def connect(self, address: str, server_key: bytes) -> int:
        """Open a link to *address*, whose owner must prove *server_key*; give its number.

        Raises:
            LinkFailed
        """
        if address in self._open or address in self._connecting:
            # libzmq aborts the process over a routing id that is in use.
            raise LinkFailed(f"there is a link to {address} already", final=True)
        number = next(self._numbers)
        done: asyncio.Future[int] = self._loop.create_future()
        self._connecting[address] = (number, done)
        self._outgoing.ipv6 = "[" in address
        self._outgoing.curve_serverkey = server_key
        self._outgoing.setsockopt(zmq.CONNECT_ROUTING_ID, _routing_id(number))
        try:
            self._outgoing.connect(address)
            async with asyncio.timeout((CONNECT_MS + HANDSHAKE_MS) / 1000):
                return await done
        except TimeoutError:
            self._disconnect(address)
            raise LinkFailed("no answer") from None
        except BaseException:
            # libzmq keeps an endpoint whose connect() failed, with all that is sent to it.
            self._disconnect(address)
            raise
        finally:
            self._connecting.pop(address, None)

    def send(self, link: int, frame: bytes) -> bool:
        """Queue *frame* on a link; False if the link is gone.

        The queue has no bound: every message is part of an operation that a rank waits for or a
        notice per rank, so what ranks have in flight bounds it, and a dead link frees it.
        """
        try:
            self._outgoing.send(_routing_id(link), zmq.SNDMORE | zmq.NOBLOCK)
            self._outgoing.send(frame, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        return True

    def drop(self, link: int) -> None:
        """Close a link; what is queued on it is lost, and `on_broken` is not called."""
        for address, number in list(self._open.items()):
            if number == link:
                del self._open[address]
                self._disconnect(address)

    def close(self, linger_ms: int = 0) -> None:
        """Close all sockets; keep trying to send what is queued for at most *linger_ms*."""
        for descriptor in self._readers:
            self._loop.remove_reader(descriptor)
        self._readers.clear()
        self._outgoing.disable_monitor()
        self._watch.close(0)
        self._incoming.close(0)
        self._outgoing.close(linger_ms)
        self._gate.close(0)
        self._context.term()

    def _read(self, source: zmq.Socket[bytes], callback: Callable[[], None]) -> None:
        descriptor = int(source.fileno())
        self._readers[descriptor] = source
        self._loop.add_reader(descriptor, callback)
        # The descriptor is edge-triggered: what came before this line would not show.
        self._loop.call_soon(callback)

    def _receive(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            if self._incoming.closed:
                return
            try:
                frame = self._incoming.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._on_frame(frame)
            except Exception:
                # Going on matters more: the descriptor will not become readable again for what
                # is queued already.
                log.exception("a message could not be handled")
        self._loop.call_soon(self._receive)

    def _process_commands(self) -> None:
        """Nothing is ever received here, but libzmq does its work for a socket in its calls."""
        if self._outgoing.closed:
            return
        self._outgoing.get(zmq.EVENTS)

    def _admit(self) -> None:
        """Answer libzmq's questions whether a client key may come in (RFC 27)."""
        while not self._gate.closed:
            try:
                question = self._gate.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._gate.send_multipart(answer_zap(question, self._client.public))

    def _see_events(self) -> None:
        while not self._watch.closed:
            try:
                event = parse_monitor_message(self._watch.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            self._see(zmq.Event(event["event"]), event["endpoint"].decode())

    def _see(self, event: zmq.Event, address: str) -> None:
        number, done = self._connecting.get(address, (0, None))
        if event is zmq.Event.HANDSHAKE_SUCCEEDED:
            if done and not done.done():
                self._open[address] = number
                done.set_result(number)
            return
        if done and not done.done():
            done.set_exception(_failure(event))
        link = self._open.pop(address, None)
        if link is not None:
            self._on_broken(link)

    def _disconnect(self, address: str) -> None:
        try:
            self._outgoing.disconnect(address)
        except zmq.ZMQError as error:
            if error.errno != errno.ENOENT:  # libzmq has dropped it meanwhile
                raise


def _routing_id(link: int) -> bytes:
    return b"L%d" % link


def _failure(event: zmq.Event) -> LinkFailed:
    if event is zmq.Event.HANDSHAKE_FAILED_AUTH:
        return LinkFailed("it refused this job's key", final=True)
    if event is zmq.Event.CLOSED:
        return LinkFailed("no connection")
    return LinkFailed("the encrypted handshake failed", final=True)
