"""Messages between agent and helper process: a length (u32, little endian), then msgpack."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import msgpack

_LENGTH = struct.Struct("<I")


def encode(message: list[Any]) -> bytes:
    body: bytes = msgpack.packb(message)
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader) -> list[Any] | None:
    """The next message, or None when the other side has closed."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return list(msgpack.unpackb(await reader.readexactly(length)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
