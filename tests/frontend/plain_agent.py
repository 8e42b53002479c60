"""A small agent for tests of the front door and the container: all but PMIx and placement.

Real front-ends, real guard, real keeper, real joins. Run by the front-end in place of
`shim.agent` through the wrapper that SHIM_PYTHON names (tests/frontend/conftest.py).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path

from shim.container import Additions, Container, StartOrder
from shim.container.start import start_container
from shim.errors import ShimError
from shim.frontdoor import FrontDoor, Peer
from shim.options import parse_exec
from shim.ticket import Answer, Bound, ExecFailed, Hello, Ticket


class PlainAgent:
    """Every rank gets in, bound to what TEST_CPUS says; the last one out ends it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.run_dir = Path(args.run_dir)
        self.guard_fd = args.guard_fd
        os.set_inheritable(self.guard_fd, False)
        self.options = parse_exec(args.words[1:])
        self.key = args.key
        self.expected = len(os.environ.get("SLURM_GTIDS", "0").split(","))
        self.over = asyncio.Event()
        self.left = 0
        self.death = ""
        self.record(event="agent", pid=os.getpid(), rank=os.environ.get("PMIX_RANK"))
        self.container: asyncio.Task[Container] | None = None
        if "TEST_NATIVE" not in os.environ:
            self.container = asyncio.get_running_loop().create_task(self.start())

    def tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self.guard_fd, f"{line}\n".encode())

    async def start(self) -> Container:
        order = StartOrder(
            options=self.options,
            env=dict(os.environ),
            cwd=os.environ.get("PWD", os.getcwd()),
            run_dir=self.run_dir,
            key=self.key,
            on_death=self.on_death,
        )
        container = await start_container(order)
        for pid in container.pids:
            self.tell(f"keeper {pid}")
        return container

    def on_death(self, sentence: str) -> None:
        self.death = sentence
        self.over.set()

    async def ticket(self, hello: Hello, peer: Peer) -> Answer:
        await asyncio.sleep(float(os.environ.get("TEST_START_DELAY", "0")))
        container = await asyncio.shield(self.container) if self.container else None
        self.tell(f"rank {peer.pid}")
        cpus = os.environ.get("TEST_CPUS")
        mask = int(cpus, 16).to_bytes(len(cpus) // 2 + 1, "little") if cpus else None
        env = {"SHIM_RANK": str(hello.rank)}
        if container is None:
            return Ticket((), {**hello.env, **env}, cwd=hello.cwd, home="/", cpus=mask)
        return container.admit(hello, Additions(env=env, cpus=mask))

    def bound(self, peer: Peer, bound: Bound, host_pid: int) -> None:
        self.record(
            event="bound", peer=peer.pid, pid=bound.pid, host_pid=host_pid, cpus=bound.cpus.hex()
        )

    def started(self, peer: Peer) -> None:
        self.record(event="started", peer=peer.pid)

    def exec_failed(self, peer: Peer, failure: ExecFailed) -> None:
        self.record(event="exec_failed", peer=peer.pid, errno=failure.errno)

    def gone(self, peer: Peer) -> None:
        self.tell(f"gone {peer.pid}")
        self.record(event="gone", peer=peer.pid)
        self.left += 1
        if self.left >= self.expected:
            self.over.set()

    def record(self, **entry: object) -> None:
        path = os.environ.get("TEST_RECORD")
        if path:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


async def serve(args: argparse.Namespace) -> int:
    agent = PlainAgent(args)
    # scancel signals every process of a step: the agent ends when its ranks have.
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, lambda: agent.record(event="terminated")
    )
    door = FrontDoor(agent, socket.socket(fileno=args.listen_fd), progress_after=0.3)
    door.start()
    door.progress("The container is starting.")
    await agent.over.wait()
    door.close()
    container = await started(agent)
    if container is not None:
        await container.stop()
    await door.stop()
    agent.tell(f"fatal 125 {agent.death}" if agent.death else "done")
    return 125 if agent.death else 0


async def started(agent: PlainAgent) -> Container | None:
    """The container, if there is one."""
    if agent.container is None:
        return None
    try:
        return await agent.container
    except ShimError:
        return None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen-fd", type=int)
    parser.add_argument("--guard-fd", type=int)
    parser.add_argument("--run-dir")
    parser.add_argument("--key")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    return asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
