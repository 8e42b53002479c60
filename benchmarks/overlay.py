"""What the mesh between agents costs: a fence and a direct modex of two agents, and large fences.

Two agents are two processes on this machine, over loopback, encrypted. Beside each stands what
the same bytes cost on a plain TCP connection between the same two processes, with asyncio too: up
to the peer, and the answer back. Many agents are simulated in one process, so their time is the
CPU time of all agents in a row: it bounds a fence from above, it is not its latency.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import harness
from benchmarks.pairs import Absolute, Finding, Spread, compare, turns
from pmix_server.collectives import Collectives
from pmix_server.job import JobSpec, NodeRanks
from pmix_server.values import RANK_WILDCARD, Proc
from shim.overlay import Overlay, join, open_head

NSPACE = "bench"
EVERYBODY = (Proc(NSPACE, RANK_WILDCARD),)
LOOPBACK = ("127.0.0.1",)
CALLS = 200
"""Calls in one turn; the turn's result is their median."""

SIZES = {"empty": 0, "1 kB per node": 1024, "1 MB per node": 2**20}
SMALL_FENCE_US = 300.0
MANY = (16, 64)

EXCLUDED = ("a real network", "libpmix and the ranks", "setting up links (done once per pair)")


def names(count: int) -> tuple[str, ...]:
    return tuple(f"n{index}" for index in range(count))


def collectives(mesh: Overlay, count: int) -> Collectives:
    async def modex(_: Proc) -> bytes:
        return bytes(1024)

    made = Collectives(mesh, modex)
    nodes = tuple(NodeRanks(name, (index,)) for index, name in enumerate(names(count)))
    made.register(JobSpec(NSPACE, "1.0", nodes, 0, 0, 0))
    return made


async def peer(blob: bytes) -> None:
    """The second agent: fences as often as it is told, and echoes on a plain TCP port."""
    mesh = await join(blob, 1, names(2), addresses=LOOPBACK)
    both = collectives(mesh, 2)

    async def fence(_: int, body: list[int]) -> None:
        calls, size = body
        for _call in range(calls):
            await both.fence(EVERYBODY, bytes(size), True)

    gone = asyncio.Event()
    mesh.on_lost(lambda _node, _reason: gone.set())
    server = await asyncio.start_server(echo_twice, LOOPBACK[0], 0)
    mesh.subscribe("bench.fence", fence)
    mesh.subscribe("bench.port", lambda _node, _body: server.sockets[0].getsockname()[1])
    await gone.wait()
    server.close()
    await mesh.close()


async def echo_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with what a fence's root sends down: both nodes' data."""
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(4), "little")
            data = await reader.readexactly(size)
            writer.writelines((data, data, b"."))
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


async def median_us(calls: int, call: Callable[[], Awaitable[object]]) -> float:
    """Median time of one call in microseconds."""
    taken: list[float] = []
    for _ in range(calls):
        started = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6


@asynccontextmanager
async def two_agents() -> AsyncIterator[Overlay]:
    head = open_head(names(2), NSPACE, "bench")
    blob = await head.listen(LOOPBACK)
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.overlay",
        "--peer",
        blob.hex(),
        cwd=Path(__file__).parents[1],
    )
    try:
        await head.wait_complete(30)
        yield head
    finally:
        await head.close()
        await other.wait()


async def measure_two(rounds: int) -> list[Finding]:
    async with two_agents() as head:
        both = collectives(head, 2)
        port = await head.request(1, "bench.port", None, 10)
        reader, writer = await asyncio.open_connection(LOOPBACK[0], port)

        async def fences(size: int, calls: int) -> float:
            head.post((1,), "bench.fence", [calls, size])
            return await median_us(calls, lambda: both.fence(EVERYBODY, bytes(size), True))

        async def echoes(size: int, calls: int) -> float:
            async def call() -> None:
                writer.writelines((size.to_bytes(4, "little"), bytes(size)))
                await reader.readexactly(2 * size + 1)

            return await median_us(calls, call)

        async def modexes(_: int, calls: int) -> float:
            return await median_us(calls, lambda: both.direct_modex(Proc(NSPACE, 1), 10))

        found = []
        for what, size in SIZES.items():
            found.append(await pair(f"fence, {what}", fences, echoes, size, rounds))
        found.append(await pair("direct modex, 1 kB", modexes, echoes, 512, rounds))
        writer.close()
        return found


Turn = Callable[[int, int], Awaitable[float]]


async def pair(what: str, ours: Turn, theirs: Turn, size: int, rounds: int) -> Finding:
    sides = {"ours": ours, "theirs": theirs}
    calls = CALLS if size < 2**16 else CALLS // 10
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for side in sides.values():
        await side(size, calls)  # fills caches, does not count
    for number, name in turns(list(sides), rounds):
        harness.watch(what, rounds)(number, name)
        taken[name].append(await sides[name](size, calls))
    return compare(what, "µs", "plain TCP", taken["ours"], taken["theirs"])


async def measure_many(count: int, rounds: int) -> Absolute:
    """Milliseconds of one process for a fence of *count* agents that all live in it."""
    head = open_head(names(count), NSPACE, "bench")
    blob = await head.listen(LOOPBACK)
    joins = [join(blob, node, names(count), addresses=LOOPBACK) for node in range(1, count)]
    _, *others = await asyncio.gather(head.wait_complete(60), *joins)
    meshes = [head, *(other for other in others if other is not None)]
    agents = [collectives(mesh, count) for mesh in meshes]

    async def fence() -> None:
        await asyncio.gather(*(agent.fence(EVERYBODY, bytes(1024), True) for agent in agents))

    await fence()
    taken = [await median_us(10, fence) / 1000 for _ in range(rounds)]
    await asyncio.gather(*(mesh.close() for mesh in meshes))
    return Absolute(f"fence of {count} agents in one process, 1 kB each", "ms", Spread.of(taken))


def absolute_of(findings: list[Finding]) -> Iterator[Absolute]:
    """The figure that is promised in microseconds, beside its ratio."""
    for finding in findings:
        if finding.quantity == "fence, 1 kB per node":
            yield Absolute("fence of two agents, 1 kB per node", "µs", finding.ours, SMALL_FENCE_US)


async def measure(args: argparse.Namespace) -> int:
    rounds = harness.rounds_of(args)
    findings = await measure_two(rounds)
    many = [await measure_many(count, rounds) for count in MANY]
    absolutes = [*absolute_of(findings), *many]
    return harness.report("overlay", args, findings, EXCLUDED, absolutes=absolutes)


def main() -> int:
    options = harness.parser(__doc__ or "", rounds=15, quick_rounds=5)
    options.add_argument("--peer", metavar="ENDPOINT", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.peer:
        asyncio.run(peer(bytes.fromhex(args.peer)))
        return 0
    return asyncio.run(measure(args))


if __name__ == "__main__":
    sys.exit(harness.presentable(main))
