"""One message between agents as bytes: a msgpack list [source, kind, correlation, body]."""

from __future__ import annotations

import msgpack

from pmix_server.mesh_messages import Envelope

PROTOCOL = 1
"""Version of everything that agents say to each other; agents of one job must agree on it."""

LARGEST = 2**31
"""Bytes of one message. A fence's data from all ranks is one message; libpmix itself puts a size
into 32 bits in several places, so nothing larger can arise."""


def encode(envelope: Envelope) -> bytes:
    packed: bytes = msgpack.packb(tuple(envelope), use_bin_type=True)
    return packed


def decode(frame: bytes | memoryview) -> Envelope:
    """The message in *frame*.

    Raises:
        ValueError: the frame is not one of our messages.
    """
    try:
        source, kind, correlation, body = msgpack.unpackb(
            frame, raw=False, strict_map_key=False, max_bin_len=LARGEST, max_str_len=LARGEST
        )
        if [type(source), type(kind), type(correlation)] != [int, str, int]:
            raise TypeError("its head has the wrong types")
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise ValueError(f"not a message between agents: {error}") from error
    return Envelope(source, kind, correlation, body)
