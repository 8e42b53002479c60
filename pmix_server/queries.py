"""PMIx_Query_info: what the job is and how it stands.

query.processes    nspace    answered by [[rank, pid, state, executable]]
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pmix_server import keys
from pmix_server._pmixcore import Request
from pmix_server.errors import PmixError
from pmix_server.groups import Groups
from pmix_server.job import JobSpec
from pmix_server.mesh import Mesh
from pmix_server.mesh_messages import Body
from pmix_server.processes import Processes
from pmix_server.service import Handler, Reply
from pmix_server.status import Status
from pmix_server.values import Info, Proc, Type, array, find, string, uint32

PROCESSES = "query.processes"

Jobs = Callable[[], Mapping[str, JobSpec]]
"""The namespaces that are registered, by name."""


class Queries:
    """Answers the keys of `self.supported`; what is not known is left out."""

    def __init__(self, mesh: Mesh, jobs: Jobs, processes: Processes, groups: Groups) -> None:
        self._mesh = mesh
        self._jobs = jobs
        self._processes = processes
        self._groups = groups
        self._answers: Mapping[str, Callable[[JobSpec], Awaitable[Info | None]]] = {
            keys.QUERY_SUPPORTED_KEYS: self._supported,
            keys.QUERY_NAMESPACES: self._namespaces,
            keys.QUERY_NAMESPACE_INFO: self._namespace_info,
            keys.JOB_SIZE: self._job_size,
            keys.QUERY_PROC_TABLE: self._table,
            keys.QUERY_LOCAL_PROC_TABLE: self._local_table,
            keys.TIME_REMAINING: self._time_remaining,
            keys.ALLOC_ID: self._allocation,
            keys.ALLOCATED_NODELIST: self._allocated_nodes,
            keys.AVAIL_PHYS_MEMORY: self._memory,
            keys.QUERY_NUM_GROUPS: self._group_count,
            keys.QUERY_GROUP_NAMES: self._group_names,
        }
        self.answers: Mapping[str, Handler] = {"query": self._query}
        mesh.subscribe(PROCESSES, self._on_processes)

    def process_ended(self, proc: Proc) -> None:
        """It is in the agent's table."""

    async def _query(self, request: Request, timeout: float | None) -> Reply:
        found: list[Info] = []
        wanted = 0
        for names, qualifiers in request.queries:
            job = self._job(request.source[0], qualifiers)
            for name in names:
                wanted += 1
                info = await self._answers[name](job) if name in self._answers else None
                found += [] if info is None else [info]
        if not found:
            raise PmixError("Nothing of what was asked is known.", status=Status.ERR_NOT_FOUND)
        complete = len(found) == wanted
        return Reply(Status.SUCCESS if complete else Status.ERR_PARTIAL_SUCCESS, found)

    def _job(self, asker: str, qualifiers: Sequence[tuple[str, int, Any]]) -> JobSpec:
        """The namespace that a query is about: the one it names, else the asker's, else (libpmix
        5.0 asks in its own name) the only one there is.

        Raises:
            PmixError: PMIX_ERR_NOT_FOUND, no such namespace.
        """
        jobs = self._jobs()
        proc = find(qualifiers, keys.PROCID)
        named = find(qualifiers, keys.NSPACE) or (proc[0] if proc else None)
        if named is None and asker not in jobs and len(jobs) == 1:
            named = next(iter(jobs))
        try:
            return jobs[named or asker]
        except KeyError:
            raise PmixError(
                f"There is no namespace {named or asker}.", status=Status.ERR_NOT_FOUND
            ) from None

    async def _supported(self, job: JobSpec) -> Info:
        return string(keys.QUERY_SUPPORTED_KEYS, ",".join(self._answers))

    async def _namespaces(self, job: JobSpec) -> Info:
        return string(keys.QUERY_NAMESPACES, ",".join(self._jobs()))

    async def _namespace_info(self, job: JobSpec) -> Info:
        entries = [
            array(
                keys.JOB_INFO_ARRAY,
                [string(keys.NSPACE, known.nspace), uint32(keys.JOB_SIZE, size_of(known))],
            )
            for known in self._jobs().values()
        ]
        return array(keys.QUERY_NAMESPACE_INFO, entries)

    async def _job_size(self, job: JobSpec) -> Info:
        return uint32(keys.JOB_SIZE, size_of(job))

    async def _time_remaining(self, job: JobSpec) -> Info | None:
        left = job.time_remaining
        return None if left is None else uint32(keys.TIME_REMAINING, left)

    async def _allocation(self, job: JobSpec) -> Info | None:
        return string(keys.ALLOC_ID, job.alloc_id) if job.alloc_id else None

    async def _allocated_nodes(self, job: JobSpec) -> Info | None:
        nodes = ",".join(job.allocated_nodes)
        return string(keys.ALLOCATED_NODELIST, nodes) if nodes else None

    async def _memory(self, job: JobSpec) -> Info:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
        return Info(keys.AVAIL_PHYS_MEMORY, Type.UINT64, size)

    async def _group_count(self, job: JobSpec) -> Info:
        return Info(keys.QUERY_NUM_GROUPS, Type.SIZE, len(self._groups.members))

    async def _group_names(self, job: JobSpec) -> Info:
        return string(keys.QUERY_GROUP_NAMES, ",".join(self._groups.members))

    async def _table(self, job: JobSpec) -> Info:
        nodes = [index for index, node in enumerate(job.nodes) if node.ranks]
        calls = [self._mesh.request(node, PROCESSES, job.nspace, None) for node in nodes]
        rows = [
            row
            for node, part in zip(nodes, await asyncio.gather(*calls), strict=True)
            for row in rows_of(job.nspace, job.nodes[node].name, part)
        ]
        rows.sort(key=lambda row: row[0])
        return Info(keys.QUERY_PROC_TABLE, Type.DATA_ARRAY, (Type.PROC_INFO, rows))

    async def _local_table(self, job: JobSpec) -> Info:
        rows = rows_of(job.nspace, job.here.name, self._on_processes(0, job.nspace))
        return Info(keys.QUERY_LOCAL_PROC_TABLE, Type.DATA_ARRAY, (Type.PROC_INFO, rows))

    def _on_processes(self, node: int, body: Body) -> Body:
        return [
            [process.rank, process.pid, int(process.state), process.executable]
            for process in self._processes(body)
        ]


def size_of(job: JobSpec) -> int:
    """Number of ranks."""
    return sum(len(node.ranks) for node in job.nodes)


def rows_of(nspace: str, node: str, part: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """One node's lines of the process table, as pmix_proc_info_t."""
    return [
        (Proc(nspace, rank), node, executable, pid, 0, state)
        for rank, pid, state, executable in part
    ]
