"""The job data given to libpmix, for jobs of any shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpusets import CpuSet
from pmix_server import JobSpec, NodeRanks, PmixError, keys
from pmix_server.jobdata import job_info
from pmix_server.procmap import anl_map, blocks
from pmix_server.values import Info, Type, find


@st.composite
def jobs(draw: st.DrawFn) -> JobSpec:
    """Up to 5 nodes, some without ranks, up to 24 ranks dealt in any way, up to 3 command lines."""
    count = draw(st.integers(1, 5))
    where = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=24))
    ranks = [tuple(r for r, node in enumerate(where) if node == index) for index in range(count)]
    nodes = tuple(NodeRanks(f"n{index}", mine) for index, mine in enumerate(ranks))
    local = draw(st.integers(0, count - 1))
    appnums = {rank: draw(st.integers(0, 2)) for rank in range(len(where))}
    bound = draw(st.booleans())
    cpusets = {rank: CpuSet.of([rank]) for rank in ranks[local]} if bound else {}
    return JobSpec("ns", "1.0", nodes, local, 1000, 1000, appnums=appnums, cpusets=cpusets)


def processes(infos: list[Info]) -> list[dict[str, Any]]:
    """The data of each process, by key."""
    arrays = [info.value for info in infos if info.key == keys.PROC_DATA]
    assert all(kind == Type.INFO for kind, _ in arrays)
    return [{item.key: item.value for item in items} for _, items in arrays]


@given(jobs())
def test_every_rank_is_described_once_and_by_its_rank_first(job: JobSpec) -> None:
    infos = job_info(job, {})
    assert sorted(p[keys.RANK] for p in processes(infos)) == list(range(job.size))
    for info in infos:
        if info.key == keys.PROC_DATA:
            assert info.value[1][0][:2] == (keys.RANK, Type.PROC_RANK)


@given(jobs())
def test_node_and_local_rank_agree_with_the_description(job: JobSpec) -> None:
    for process in processes(job_info(job, {})):
        node = job.nodes[process[keys.NODEID]]
        assert node.name == process[keys.HOSTNAME]
        assert node.ranks[process[keys.LOCAL_RANK]] == process[keys.RANK]


@given(jobs())
def test_maps_name_the_nodes_that_have_ranks_and_all_ranks(job: JobSpec) -> None:
    """libpmix drops empty entries when it splits, so a node without ranks must not appear."""
    infos = job_info(job, {})
    names = str(find(infos, keys.NODE_MAP)).removeprefix("raw:").split(",")
    groups = str(find(infos, keys.PROC_MAP)).removeprefix("raw:").split(";")
    dealt = {name: tuple(map(int, g.split(","))) for name, g in zip(names, groups, strict=True)}
    assert dealt == {node.name: node.ranks for node in job.nodes if node.ranks}
    assert find(infos, keys.NUM_NODES) == len(names)


@given(jobs())
def test_application_ranks_count_from_zero_in_each_application(job: JobSpec) -> None:
    described = processes(job_info(job, {}))
    for app in {process[keys.APPNUM] for process in described}:
        ranks = [p[keys.APP_RANK] for p in described if p[keys.APPNUM] == app]
        assert sorted(ranks) == list(range(len(ranks)))
    assert find(job_info(job, {}), keys.JOB_NUM_APPS) == len({p[keys.APPNUM] for p in described})


@given(jobs())
def test_cpusets_are_given_for_bound_local_ranks_only(job: JobSpec) -> None:
    infos = job_info(job, {rank: f"HT{rank}" for rank in job.cpusets})
    for process in processes(infos):
        rank = process[keys.RANK]
        expected = f"hwloc:{job.cpusets[rank]}" if rank in job.cpusets else None
        assert process.get(keys.CPUSET) == expected
        assert process.get(keys.LOCALITY_STRING) == (f"HT{rank}" if rank in job.cpusets else None)


def place(text: str) -> list[int]:
    """Node by rank, read from ANL notation as MPICH reads it."""
    inner = text.removeprefix("(vector,(").removesuffix("))")
    nodes: list[int] = []
    for block in inner.split("),("):
        first, count, ranks = map(int, block.split(","))
        for node in range(first, first + count):
            nodes += [node] * ranks
    return nodes


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_the_anl_map_says_where_every_rank_is(where: list[int]) -> None:
    assert place(anl_map(dict(enumerate(where)), len(where))) == where


def test_a_block_distribution_is_one_block() -> None:
    node_of = {rank: rank // 4 for rank in range(4096)}
    assert blocks(node_of, 4096) == ((0, 1024, 4),)


def test_no_directory_is_named_where_ranks_see_none() -> None:
    job = JobSpec("ns", "1.0", (NodeRanks("n", (0,)),), 0, 0, 0)
    infos = job_info(job, {})
    assert all(find(infos, key) is None for key in (keys.TMPDIR, keys.NSDIR, keys.TDIR_RMCLEAN))


BAD = {
    "a rank twice": ((NodeRanks("a", (0, 1)), NodeRanks("b", (1,))), 0, "ns"),
    "a gap": ((NodeRanks("a", (0, 2)),), 0, "ns"),
    "no rank": ((NodeRanks("a", ()),), 0, "ns"),
    "no such node": ((NodeRanks("a", (0,)),), 1, "ns"),
    "no name": ((NodeRanks("a", (0,)),), 0, ""),
    "a long name": ((NodeRanks("a", (0,)),), 0, "x" * 256),
}


@pytest.mark.parametrize("what", BAD)
def test_a_wrong_description_is_refused(what: str) -> None:
    nodes, local, nspace = BAD[what]
    with pytest.raises(PmixError, match="job description is wrong"):
        JobSpec(nspace, "1.0", nodes, local, 0, 0)


def test_large_jobs_are_described_in_linear_time() -> None:
    nodes = tuple(NodeRanks(f"n{i}", tuple(range(i * 64, i * 64 + 64))) for i in range(256))
    job = JobSpec("ns", "1.0", nodes, 3, 0, 0)
    infos = job_info(job, {})
    assert sum(info.key == keys.PROC_DATA for info in infos) == 16384
