"""`shim run`: the ranks' front-ends, forked by the agent, and what they end with."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping

from shim.errors import ShimError
from shim.layout import Layout
from shim.run.environment import task_environment

Adopt = Callable[[socket.socket, int], None]
"""`FrontDoor.adopt`: (our end of the pair, pid of the front-end)."""


class RankProcesses:
    """The processes of this node's ranks; their standard streams are the agent's."""

    def __init__(self, layout: Layout, frontend: str, env: Mapping[str, str], adopt: Adopt) -> None:
        self._layout = layout
        self._frontend = frontend
        self._env = env
        self._adopt = adopt
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    async def start(self) -> None:
        """Fork them all.

        Raises:
            ShimError: the system has no room for another process.
        """
        for rank in self._layout.here.ranks:
            try:
                self._processes[rank] = await self._fork(rank)
            except OSError as error:
                self.signal(signal.SIGKILL)
                raise ShimError(
                    f"Rank {rank} cannot be forked: {error.strerror}.",
                    "Check the limits on processes and memory (ulimit -a).",
                ) from error

    async def _fork(self, rank: int) -> asyncio.subprocess.Process:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                self._frontend,
                "_rank",
                "--socket-fd",
                str(theirs.fileno()),
                "--rank",
                str(rank),
                "--",
                *self._layout.app(rank).command,
                # Rank 0 has the launcher's standard input, as srun and mpirun do it.
                stdin=None if rank == 0 else subprocess.DEVNULL,
                env={**self._env, **task_environment(self._layout, rank, self._env)},
                pass_fds=(theirs.fileno(),),
            )
        self._adopt(ours, process.pid)
        return process

    def pid(self, rank: int) -> int:
        return self._processes[rank].pid

    def signal(self, number: int) -> None:
        """Send a signal to every rank that still runs."""
        for process in self._processes.values():
            if process.returncode is None:
                try:
                    process.send_signal(number)
                except ProcessLookupError:
                    continue

    async def wait(self, on_end: Callable[[int, int], None]) -> int:
        """Wait for all; *on_end* gets (rank, return code as subprocess gives it). Returns the exit
        code of this node's part of the job."""

        async def one(rank: int, process: asyncio.subprocess.Process) -> int:
            code = await process.wait()
            on_end(rank, code)
            return shell_code(code)

        codes = await asyncio.gather(*(one(*item) for item in self._processes.items()))
        return max(codes, default=0)


def shell_code(code: int) -> int:
    """A return code as a shell tells it: 128+N for signal N."""
    return 128 - code if code < 0 else code


def frontend_program() -> str:
    """The C program that started this agent."""
    program = os.environ.get("SHIM_FRONTEND")
    if not program:
        raise ShimError(
            "The agent was not started by the command `shim`.",
            "Use `shim run` or `shim exec`; `python -m shim.agent` is internal.",
        )
    return program
