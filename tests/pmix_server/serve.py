"""One PMIx server with its ranks, as a process of its own: libpmix starts once per process.

Reads a JSON description on stdin, starts the ranks, prints a JSON report when they have ended.
With several nodes, servers find each other through `relay`: see `joined.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpusets import CpuSet
from pmix_server import JobSpec, NodeRanks, PmixError, Proc, Server, Status
from pmix_server.environment import without_launcher


@dataclass
class Recorder:
    """A host of one node: no other node takes part, so it need only note what happens."""

    connected: list[int] = field(default_factory=list)
    finalized: list[int] = field(default_factory=list)
    aborts: list[tuple[int, int, str]] = field(default_factory=list)
    fences: int = 0

    async def fence(
        self,
        procs: Sequence[Proc],
        data: bytes,
        collect: bool,
        timeout: float | None,
        *,
        status: int = 0,
    ) -> bytes:
        self.fences += 1
        if status:
            raise PmixError("a participant has failed", status=status)
        return data if collect else b""

    async def direct_modex(self, proc: Proc, timeout: float | None) -> bytes:
        raise PmixError(f"no other node has rank {proc.rank}", status=Status.ERR_NOT_FOUND)

    async def abort(self, proc: Proc, status: int, message: str, procs: Sequence[Proc]) -> None:
        self.aborts.append((proc.rank, status, message))

    def client_connected(self, proc: Proc) -> None:
        self.connected.append(proc.rank)

    def client_finalized(self, proc: Proc) -> None:
        self.finalized.append(proc.rank)


def job_of(request: dict[str, Any]) -> JobSpec:
    nodes = tuple(NodeRanks(name, tuple(ranks)) for name, ranks in request["nodes"])
    cpusets = {int(rank): CpuSet.parse(text) for rank, text in request.get("cpusets", {}).items()}
    return JobSpec(
        nspace=request.get("nspace", "test-namespace"),
        job_id=request.get("job_id", "77.0"),
        nodes=nodes,
        local=request.get("local", 0),
        uid=os.getuid(),
        gid=os.getgid(),
        cpusets=cpusets,
        tmpdir=request.get("job_tmpdir"),
        **request.get("extra", {}),
    )


async def run_ranks(server: Server, job: JobSpec, request: dict[str, Any]) -> list[dict[str, Any]]:
    async def run(rank: int) -> dict[str, Any]:
        env = without_launcher(os.environ) | server.rank_environment(rank)
        env |= request.get("env", {})
        process = await asyncio.create_subprocess_exec(
            *request["command"],
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        code = process.returncode
        return {"rank": rank, "code": code, "out": out.decode(), "err": err.decode()}

    return await asyncio.gather(*(run(rank) for rank in job.here.ranks))


async def main() -> None:
    request = json.loads(sys.stdin.read())
    job = job_of(request)
    host = Recorder()
    server = Server()
    path = Path(request["library"]) if request.get("library") else None
    await server.start(host, tmpdir=request["tmpdir"], library_path=path, node=job.here.name)
    await server.register(job)
    rounds = [await run_ranks(server, job, request) for _ in range(request.get("rounds", 1))]
    version = server.library.version
    await server.deregister(job.nspace)
    await server.stop()
    report = {
        "version": version,
        "ranks": rounds[-1],
        "connected": host.connected,
        "finalized": host.finalized,
        "aborts": host.aborts,
        "fences": host.fences,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main())
