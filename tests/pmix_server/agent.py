"""A small agent: client of the launcher and server of one rank, in one process.

    python -m tests.pmix_server.agent MODE SECRET COMMAND…

Rank 0 of the launcher publishes SECRET a little late, the others fetch it at once. Then each
serves its own rank, a process that runs COMMAND, and leaves. Prints a JSON report.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from typing import cast

from pmix_server import Server, open_upstream
from pmix_server.collectives import Collectives
from pmix_server.mesh import LocalMesh
from pmix_server.upstream import Mode
from tests.pmix_server.serve import Recorder, job_of, run_ranks

KEY = "shim.endpoint"


async def main(mode: Mode, secret: str, command: list[str]) -> None:
    upstream = open_upstream(mode, dict(os.environ))
    job = await upstream.connect()
    if job.rank == 0:
        await asyncio.sleep(0.3)
        await upstream.publish(KEY, secret.encode())
    fetched = await upstream.fetch(0, KEY, 20)
    with tempfile.TemporaryDirectory() as directory:
        node = job.nodes[job.local].name
        request = {"nodes": [[node, [0]]], "nspace": f"inner-{job.rank}", "command": command}
        server = Server()
        host = Recorder(Collectives(LocalMesh(node), server.local_modex))
        inner = job_of(request)
        await server.start(host, tmpdir=directory, node=node, upstream=upstream)
        await server.register(inner)
        ranks = await run_ranks(server, inner, request)
        await server.stop()
    await upstream.finalize()
    report = {
        "rank": job.rank,
        "size": job.size,
        "nodes": [[node.name, list(node.ranks)] for node in job.nodes],
        "local": job.local,
        "job_id": job.job_id,
        "fetched": fetched.decode(),
        "codes": [rank["code"] for rank in ranks],
        "errors": [rank["err"] for rank in ranks],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main(cast(Mode, sys.argv[1]), sys.argv[2], sys.argv[3:]))
