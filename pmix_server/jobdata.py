"""From a job description to the data that PMIx_server_register_nspace takes. Pure.

The keys are those that the standard requires of a host, those that Open MPI 4.1, Open MPI 5 and
MPICH ask for at start-up, and those that Slurm leaves out although the standard names them
(cpusets, locality, allocation, time left).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from pmix_server import keys
from pmix_server.job import JobSpec, NodeRanks
from pmix_server.procmap import anl_map
from pmix_server.values import Info, array, boolean, rank, string, uint16, uint32


def job_info(job: JobSpec, locality: Mapping[int, str]) -> list[Info]:
    """Everything that ranks of *job* on this node may ask for.

    Args:
        locality: by local rank, libpmix's description of where its CPUs are; ranks that are
            not bound are absent.
    """
    apps = _apps(job)
    return [
        *_maps(job),
        *_job_realm(job, len(apps)),
        *_allocation(job),
        *_directories(job),
        *_node_realm(job),
        *(_app(number, ranks) for number, ranks in apps.items()),
        *(
            _process(job, number, app, app_rank, locality)
            for app, ranks in apps.items()
            for app_rank, number in enumerate(ranks)
        ),
    ]


def namespace_directory(job: JobSpec) -> str | None:
    """PMIX_NSDIR: where the job's ranks keep session files; the server creates it."""
    return None if job.tmpdir is None else str(PurePosixPath(job.tmpdir) / job.nspace)


def cpuset_text(job: JobSpec, number: int) -> str | None:
    """A local rank's CPUs in libpmix's form (``hwloc:0-3``), or None if it is not bound."""
    cpus = job.cpusets.get(number)
    return f"hwloc:{cpus}" if cpus else None


def _nodes_with_ranks(job: JobSpec) -> list[NodeRanks]:
    return [node for node in job.nodes if node.ranks]


def _maps(job: JobSpec) -> Iterator[Info]:
    """The "raw:" form is libpmix's own (mca/preg/raw): no regular expression, so no compressed
    binary that a string could cut, and what is stored is the parsed map either way."""
    nodes = _nodes_with_ranks(job)
    ranks = ";".join(",".join(map(str, node.ranks)) for node in nodes)
    yield string(keys.NODE_MAP, "raw:" + ",".join(node.name for node in nodes))
    yield string(keys.PROC_MAP, "raw:" + ranks)
    yield string(keys.ANL_MAP, anl_map(job.node_of, job.size))


def _job_realm(job: JobSpec, apps: int) -> Iterator[Info]:
    nodes = _nodes_with_ranks(job)
    yield string(keys.JOBID, job.job_id)
    yield uint32(keys.JOB_SIZE, job.size)
    yield uint32(keys.UNIV_SIZE, max(job.univ_size, job.size))
    yield uint32(keys.MAX_PROCS, job.size)
    yield uint32(keys.JOB_NUM_APPS, apps)
    yield uint32(keys.NUM_NODES, len(nodes))
    yield string(keys.NODE_LIST, ",".join(node.name for node in nodes))
    yield boolean(keys.SPAWNED, False)
    yield uint32(keys.USERID, job.uid)
    yield uint32(keys.GRPID, job.gid)
    if job.map_by:
        yield string(keys.MAPBY, job.map_by)
    if job.bind_to:
        yield string(keys.BINDTO, job.bind_to)
    if job.rm_name:
        yield string(keys.RM_NAME, job.rm_name)


def _allocation(job: JobSpec) -> Iterator[Info]:
    names = job.allocated_nodes or tuple(node.name for node in job.nodes)
    yield string(keys.ALLOCATED_NODELIST, ",".join(names))
    if job.alloc_id is not None:
        yield string(keys.ALLOC_ID, job.alloc_id)
    if job.time_remaining is not None:
        yield uint32(keys.TIME_REMAINING, job.time_remaining)


def _directories(job: JobSpec) -> Iterator[Info]:
    directory = namespace_directory(job)
    if job.tmpdir is not None and directory is not None:
        yield string(keys.TMPDIR, job.tmpdir)
        yield string(keys.NSDIR, directory)
        yield boolean(keys.TDIR_RMCLEAN, True)


def _node_realm(job: JobSpec) -> Iterator[Info]:
    here = job.here
    yield uint32(keys.NODEID, job.local)
    if not here.ranks:
        return
    yield uint32(keys.LOCAL_SIZE, len(here.ranks))
    yield uint32(keys.NODE_SIZE, len(here.ranks))
    yield string(keys.LOCAL_PEERS, ",".join(map(str, here.ranks)))
    yield rank(keys.LOCALLDR, here.ranks[0])
    cpusets = [cpuset_text(job, number) for number in here.ranks]
    if all(cpusets):
        yield string(keys.LOCAL_CPUSETS, ":".join(str(job.cpusets[n]) for n in here.ranks))


def _apps(job: JobSpec) -> dict[int, list[int]]:
    """Ranks by application number, both ascending."""
    apps: dict[int, list[int]] = {}
    for number in range(job.size):
        apps.setdefault(job.appnums.get(number, 0), []).append(number)
    return dict(sorted(apps.items()))


def _app(number: int, ranks: list[int]) -> Info:
    return array(
        keys.APP_INFO_ARRAY,
        [
            uint32(keys.APPNUM, number),
            uint32(keys.APP_SIZE, len(ranks)),
            rank(keys.APPLDR, ranks[0]),
        ],
    )


def _process(
    job: JobSpec, number: int, app: int, app_rank: int, locality: Mapping[int, str]
) -> Info:
    """PMIX_RANK comes first: libpmix takes the array's first element for it."""
    node = job.nodes[job.node_of[number]]
    local_rank = node.ranks.index(number)
    infos = [
        rank(keys.RANK, number),
        uint32(keys.APPNUM, app),
        rank(keys.GLOBAL_RANK, number),
        rank(keys.APP_RANK, app_rank),
        uint16(keys.LOCAL_RANK, local_rank),
        uint16(keys.NODE_RANK, local_rank),
        string(keys.HOSTNAME, node.name),
        uint32(keys.NODEID, job.node_of[number]),
        uint32(keys.REINCARNATION, 0),
    ]
    infos += _placement(job, number, locality)
    return array(keys.PROC_DATA, infos)


def _placement(job: JobSpec, number: int, locality: Mapping[int, str]) -> Iterator[Info]:
    text = cpuset_text(job, number)
    if text:
        yield string(keys.CPUSET, text)
    if number in locality:
        yield string(keys.LOCALITY_STRING, locality[number])
