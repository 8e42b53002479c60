"""Meshes over loopback for the tests: in this process, or one agent in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from pmix_server.collectives import Collectives
from pmix_server.job import JobSpec, NodeRanks
from pmix_server.values import RANK_WILDCARD, Proc
from shim.overlay import Head, Overlay, join, open_head

LOOPBACK = ("127.0.0.1",)
NSPACE = "inner-7f"
EVERYBODY = (Proc(NSPACE, RANK_WILDCARD),)
ROOT = Path(__file__).parents[2]

AGENT_PROGRAM = """
import asyncio, sys
from tests.overlay.agents import run_agent
asyncio.run(run_agent(bytes.fromhex(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
"""


def node_names(count: int) -> tuple[str, ...]:
    return tuple(f"n{index}" for index in range(count))


def open_test_head(count: int, progress: list[str] | None = None) -> Head:
    lines = progress if progress is not None else []
    return open_head(node_names(count), NSPACE, "12.0", progress=lines.append)


@contextlib.asynccontextmanager
async def meshes(count: int) -> AsyncIterator[list[Overlay]]:
    """*count* agents on this event loop, all joined; closed at the end."""
    head = open_test_head(count)
    made: list[Overlay] = [head]
    try:
        blob = await head.listen(LOOPBACK)
        joins = [join(blob, node, head.names, addresses=LOOPBACK) for node in range(1, count)]
        _, *others = await asyncio.gather(head.wait_complete(30), *joins)
        made += [other for other in others if other is not None]
        yield made
    finally:
        await asyncio.gather(*(mesh.close() for mesh in made))


def job(count: int) -> JobSpec:
    """One rank per node."""
    layout = tuple(NodeRanks(name, (index,)) for index, name in enumerate(node_names(count)))
    return JobSpec(NSPACE, "12.0", layout, 0, 1000, 1000)


async def modex_of(proc: Proc) -> bytes:
    return f"modex of {proc.rank}".encode()


def collectives_of(mesh: Overlay, count: int) -> Collectives:
    made = Collectives(mesh, modex_of)
    made.register(job(count))
    return made


async def start_agent(blob: bytes, index: int, names: Sequence[str]) -> asyncio.subprocess.Process:
    """An agent in a process of its own; it prints a line per event (see `run_agent`)."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        AGENT_PROGRAM,
        blob.hex(),
        str(index),
        *names,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def read_line(agent: asyncio.subprocess.Process) -> str:
    assert agent.stdout
    async with asyncio.timeout(20):
        return (await agent.stdout.readline()).decode().strip()


async def run_agent(blob: bytes, index: int, names: Sequence[str]) -> None:
    """Join; then say whatever happens until stdin ends.

    Prints "joined", "lost NODE REASON", and "fence STATUS-or-BYTES" for each line "fence" read.
    """
    mesh = await join(blob, index, names, addresses=LOOPBACK)
    mesh.on_lost(lambda node, reason: print("lost", node, reason, flush=True))
    collectives = collectives_of(mesh, len(names))
    print("joined", flush=True)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while command := (await reader.readline()).strip():
        assert command == b"fence"
        try:
            data = await collectives.fence(EVERYBODY, b"%d;" % index, True)
            print("fence", data.decode(), flush=True)
        except Exception as error:
            print("fence", getattr(error, "status", error), flush=True)
    await mesh.close()
