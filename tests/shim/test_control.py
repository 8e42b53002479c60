"""A user's command finds the agents of this node, and gets their answer."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from shim.control import SOCKET, ask, running_steps
from shim.errors import ShimError
from shim.frontdoor import FrontDoor
from shim.ticket import Reply
from tests.frontend.test_frontdoor import Office, native


def step_directory(base: Path, name: str) -> Path:
    directory = base / f"shim-{os.geteuid()}" / name
    directory.mkdir(parents=True)
    return directory


def test_an_agent_answers_through_its_socket(tmp_path: Path) -> None:
    long_path = tmp_path / ("d" * 90)
    directory = step_directory(long_path, "7.0")
    listener = socket.socket(socket.AF_UNIX)
    opened = os.open(directory, os.O_RDONLY)
    listener.bind(f"/proc/self/fd/{opened}/{SOCKET}")
    os.close(opened)
    listener.listen()
    env = {"SHIM_RUNTIME_DIR": str(long_path)}

    async def serve() -> Reply:
        door = FrontDoor(Office(native), listener)
        door.start()
        try:
            return await asyncio.to_thread(ask, running_steps(env)["7.0"], ["partition", "list"])
        finally:
            await door.stop()

    assert asyncio.run(serve()) == Reply(3, "partition list")


def test_an_agent_that_has_ended_is_said_to_be_silent(tmp_path: Path) -> None:
    directory = step_directory(tmp_path, "7.0")
    (directory / SOCKET).touch()
    with pytest.raises(ShimError, match=r"step 7\.0 does not answer"):
        ask(directory, ["partition", "list"])
