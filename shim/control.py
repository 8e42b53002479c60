"""Ask a running agent of this user on this node."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from shim.errors import ShimError
from shim.ticket import Control, Reply
from shim.ticket_wire import MalformedFrame, decode, encode, frame_length

SOCKET = "agent.sock"
"""In the step's directory (c_ext/frontend/rendezvous.c)."""

PATIENCE = 10.0
"""Seconds for an answer."""


def running_steps(env: Mapping[str, str]) -> dict[str, Path]:
    """Directory of each step of this user that has an agent here, by its name."""
    bases = [env.get("SHIM_RUNTIME_DIR"), env.get("XDG_RUNTIME_DIR"), "/tmp"]
    return {
        found.parent.name: found.parent
        for base in filter(None, bases)
        for found in sorted(Path(base, f"shim-{os.geteuid()}").glob(f"*/{SOCKET}"))
    }


def ask(directory: Path, words: Sequence[str]) -> Reply:
    """The agent's answer.

    Raises:
        ShimError: it does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            _connect(connection, directory)
            connection.sendall(encode(Control(tuple(words))))
            reply = decode(_receive(connection))
    except (OSError, EOFError, MalformedFrame) as error:
        raise ShimError(
            f"The agent of step {directory.name} does not answer: {error or 'it closed'}.",
            "It may have ended just now; look with `shim report`.",
            transient=True,
        ) from error
    assert isinstance(reply, Reply)
    return reply


def _connect(connection: socket.socket, directory: Path) -> None:
    """A socket's address has 108 bytes, a path may have more: go through the directory."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        connection.connect(f"/proc/self/fd/{opened}/{SOCKET}")
    finally:
        os.close(opened)


def _receive(connection: socket.socket) -> bytes:
    data = bytearray()
    while (length := frame_length(data)) is None or len(data) < length:
        part = connection.recv(1 << 16)
        if not part:
            raise EOFError
        data += part
    return bytes(data)
