"""An agent that lives long: both copies of libpmix at work over many launches and fences.

    python -m tests.pmix_server.soak_agent LAUNCHES RANKS_PER_NODE COMMAND…

Two of these are ranks of a launcher. The first publishes where it listens, the second connects;
then each serves its half of a job again and again. Every launch has a namespace of its own, reads
a key from the launcher, and starts ranks that fence across both agents. Prints a JSON report.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

from pmix_server import Server, Upstream, open_upstream
from pmix_server.collectives import Collectives
from tests.pmix_server.pair import PairMesh
from tests.pmix_server.serve import Recorder, job_of, resident_kib, run_ranks

KEY = "soak.address"


async def join(upstream: Upstream, index: int, directory: str) -> PairMesh:
    """Find the other agent through the launcher."""
    mesh = PairMesh(index, ["soak0", "soak1"])
    if index == 0:
        with socket.socket(socket.AF_UNIX) as listener:
            path = f"{directory}/link"
            listener.bind(path)
            listener.listen(1)
            await upstream.publish(KEY, path.encode())
            connection, _ = await asyncio.to_thread(listener.accept)
    else:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect((await upstream.fetch(0, KEY, 30)).decode())
    await mesh.open(connection.detach())
    return mesh


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def main(launches: int, per_node: int, command: list[str]) -> None:
    upstream = open_upstream("isolated", dict(os.environ))
    outer = await upstream.connect()
    node = f"soak{outer.rank}"
    nodes = [[f"soak{n}", list(range(n * per_node, (n + 1) * per_node))] for n in range(2)]
    samples: list[tuple[int, int]] = []
    bad: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        mesh = await join(upstream, outer.rank, directory)
        server = Server()
        collectives = Collectives(mesh, server.local_modex)
        host = Recorder(collectives)
        await server.start(host, tmpdir=directory, node=node)
        began = time.monotonic()
        for number in range(launches):
            request = {"nodes": nodes, "local": outer.rank, "nspace": f"soak-{number}"}
            request["command"] = command
            job = job_of(request)
            collectives.register(job)
            await server.register(job)
            ranks = await run_ranks(server, job, request)
            bad += [rank["err"] for rank in ranks if rank["code"] != 0]
            await server.deregister(job.nspace)
            collectives.deregister(job.nspace)
            await upstream.fetch(0, KEY, 10)
            samples.append((resident_kib(), descriptors()))
        seconds = time.monotonic() - began
        await server.stop()
        await mesh.close()
    await upstream.finalize()
    print(json.dumps({"samples": samples, "fences": host.fences, "seconds": seconds, "bad": bad}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
