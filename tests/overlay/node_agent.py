"""An agent for test_cluster.py: `node_agent.py DIRECTORY INDEX NAME…`, run on a node.

Reads commands (fence, addresses) from stdin, writes events as JSON lines.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from pmix_server.collectives import Collectives
from pmix_server.errors import PmixError
from pmix_server.job import JobSpec, NodeRanks
from pmix_server.values import RANK_WILDCARD, Proc
from shim.overlay import HeadEndpoint, Overlay, join, open_head


def say(event: str, **more: object) -> None:
    print(json.dumps({"event": event, "time": time.time(), **more}), flush=True)


async def enter(directory: Path, index: int, names: list[str]) -> Overlay:
    path = directory / "endpoint"
    if index:
        async with asyncio.timeout(20):
            while not path.exists():  # noqa: ASYNC110 - PMIx would hold the request
                await asyncio.sleep(0.02)
        return await join(path.read_bytes(), index, names)
    head = open_head(names, "inner", "1.0")
    blob = await head.listen()
    (directory / "endpoint.new").write_bytes(blob)
    os.rename(directory / "endpoint.new", path)
    await head.wait_complete(20)
    return head


async def fence(collectives: Collectives, index: int) -> None:
    try:
        data = await collectives.fence((Proc("inner", RANK_WILDCARD),), b"%d" % index, True)
        say("fence", data=data.decode())
    except PmixError as error:
        say("fence", status=error.status)


async def modex(_: Proc) -> bytes:
    return b""


async def main(directory: Path, index: int, names: list[str]) -> None:
    mesh = await enter(directory, index, names)
    collectives = Collectives(mesh, modex)
    nodes = tuple(NodeRanks(name, (number,)) for number, name in enumerate(names))
    collectives.register(JobSpec("inner", "1.0", nodes, index, 1000, 1000))
    mesh.on_lost(lambda node, reason: say("lost", node=node, reason=reason))
    say("joined")
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running: set[asyncio.Task[None]] = set()
    while command := (await reader.readline()).decode().strip():
        if command == "fence":
            running.add(asyncio.create_task(fence(collectives, index)))
        elif command == "addresses":
            endpoint = HeadEndpoint.unpack((directory / "endpoint").read_bytes())
            say("addresses", addresses=list(endpoint.addresses))
    for task in running:
        task.cancel()
    await mesh.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
