"""Frames over one rank's unix socket, on the asyncio loop, with descriptors and credentials.

asyncio's streams know neither ancillary data; hence the non-blocking socket calls here.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import socket
import struct

from shim.ticket import Answer, Frame, Progress, Reply, Ticket
from shim.ticket_wire import decode, encode, frame_length

_CHUNK = 1 << 18
_CREDENTIALS = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid."""


class RankSocket:
    """The agent's end of one conversation (shim/ticket.py)."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        # The kernel then writes the sender's pid, as we see it, beside each frame: a rank in a
        # PID namespace does not know its own host pid (unix(7), SO_PASSCRED).
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket = connection
        self._received = bytearray()

    async def receive(self) -> tuple[Frame, int | None]:
        """The next frame and its sender's host pid, where the kernel told it.

        Raises:
            EOFError: the peer closed, which a program that was executed does too.
            MalformedFrame, OSError: the peer is not to be served.
        """
        sender: int | None = None
        while True:
            length = frame_length(self._received)
            if length is not None and len(self._received) >= length:
                frame = decode(bytes(self._received[:length]))
                del self._received[:length]
                return frame, sender
            data, pid = await self._read_some()
            if not data:
                raise EOFError
            sender = pid or sender
            self._received += data

    async def send(self, frame: Answer | Progress | Reply) -> None:
        """Send a frame; a Ticket's namespace descriptors travel with its first bytes."""
        data = memoryview(encode(frame))
        fds = [space.fd for space in frame.namespaces] if isinstance(frame, Ticket) else []
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        while True:
            try:
                sent = self._socket.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
                break
            except BlockingIOError:
                await _ready(self._socket, writing=True)
        # Not even an empty write: the peer may have read all and executed its program already.
        if sent < len(data):
            await asyncio.get_running_loop().sock_sendall(self._socket, data[sent:])

    def close(self) -> None:
        self._socket.close()

    async def _read_some(self) -> tuple[bytes, int | None]:
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    _CHUNK, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
                return data, _sender(ancillary)
            except BlockingIOError:
                await _ready(self._socket, writing=False)
            except ConnectionResetError:
                return b"", None


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return int(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]) or None
    return None


async def _ready(sock: socket.socket, *, writing: bool) -> None:
    """Wait until a read or write of *sock* would not block."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    add, remove = (
        (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    )

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add(sock, wake)
    try:
        await ready
    finally:
        with contextlib.suppress(ValueError):
            remove(sock)
