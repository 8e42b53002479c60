"""One PMIx server with its ranks, as a process of its own: libpmix starts once per process.

Reads a JSON description on stdin, starts the ranks, prints a JSON report when they have ended.
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
from pmix_server import JobSpec, NodeRanks, PmixError, Proc, Server
from pmix_server.collectives import Collectives
from pmix_server.environment import without_launcher
from pmix_server.mesh import LocalMesh
from pmix_server.processes import LocalProcess, ProcessState
from pmix_server.services import job_services
from tests.pmix_server.pair import PairMesh


@dataclass
class Recorder:
    """A host that leaves collectives to `Collectives` and notes the rest."""

    collectives: Collectives
    connected: list[int] = field(default_factory=list)
    finalized: list[int] = field(default_factory=list)
    aborts: list[tuple[int, int, str]] = field(default_factory=list)
    fences: int = 0
    modexes: int = 0
    refuse: int = 0

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
        if self.refuse:
            raise PmixError("refused by the test", status=self.refuse)
        return await self.collectives.fence(procs, data, collect, timeout, status=status)

    async def direct_modex(self, proc: Proc, timeout: float | None) -> bytes:
        self.modexes += 1
        return await self.collectives.direct_modex(proc, timeout)

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
        uid=request.get("uid", os.getuid()),
        gid=os.getgid(),
        cpusets=cpusets,
        tmpdir=request.get("job_tmpdir"),
        **request.get("extra", {}),
    )


@dataclass
class Running:
    """The processes of the ranks."""

    pids: dict[int, int] = field(default_factory=dict)

    def processes(self, nspace: str) -> list[LocalProcess]:
        return [
            LocalProcess(rank, pid, ProcessState.RUNNING, "program")
            for rank, pid in self.pids.items()
        ]


async def run_ranks(
    server: Server, job: JobSpec, request: dict[str, Any], running: Running | None = None
) -> list[dict[str, Any]]:
    """Start a process for every local rank and wait for all."""

    pids = (running or Running()).pids

    async def run(rank: int) -> dict[str, Any]:
        env = without_launcher(os.environ) | server.rank_environment(rank)
        env |= request.get("env", {})
        process = await asyncio.create_subprocess_exec(
            *request["command"],
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        pids[rank] = process.pid
        out, err = await process.communicate()
        del pids[rank]
        code = process.returncode
        return {"rank": rank, "code": code, "out": out.decode(), "err": err.decode()}

    return await asyncio.gather(*(run(rank) for rank in job.here.ranks))


async def leave(server: Server, job: JobSpec) -> None:
    """Stop the server; a libpmix that is stuck must not keep us."""
    try:
        await server.deregister(job.nspace)
    except PmixError as error:
        print(error.message, file=sys.stderr)
    await server.stop()


def resident_kib() -> int:
    """VmRSS of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


async def main() -> None:
    request = json.loads(sys.stdin.read())
    job = job_of(request)
    mesh = PairMesh(job.local, [node.name for node in job.nodes]) if "mesh" in request else None
    if mesh is not None:
        await mesh.open(request["mesh"])
    server, running = Server(), Running()
    meshed = mesh or LocalMesh(job.here.name)
    collectives = Collectives(meshed, server.local_modex)
    collectives.register(job)
    host = Recorder(collectives, refuse=request.get("refuse", 0))
    path = Path(request["library"]) if request.get("library") else None
    await server.start(
        host,
        tmpdir=request["tmpdir"],
        library_path=path,
        node=job.here.name,
        services=job_services(meshed, collectives, server, running.processes),
    )
    version = server.library.version
    await server.register(job)
    memory: list[int] = []
    for _ in range(request.get("rounds", 1)):
        ranks_ended = asyncio.create_task(run_ranks(server, job, request, running))
        if "stop_after" in request:
            await asyncio.sleep(request["stop_after"])
            await server.stop()
        ranks = await ranks_ended
        memory.append(resident_kib())
    if "stop_after" not in request:
        await leave(server, job)
    if mesh is not None:
        await mesh.close()
    report = {
        "version": version,
        "ranks": ranks,
        "memory": memory,
        "connected": host.connected,
        "finalized": host.finalized,
        "aborts": host.aborts,
        "fences": host.fences,
        "modexes": host.modexes,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main())
