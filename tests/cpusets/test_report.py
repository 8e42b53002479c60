"""Verdicts name what is wrong and who did it; the table fits; JSON has a schema."""

from __future__ import annotations

import json

import pytest

from cpusets import CpuSet, RankReport, Topology, judge, render_table, to_json

MACHINE = Topology.from_synthetic("pack:2 numa:1 core:4 pu:2")  # PUs 0-7 and 8-15


def cpus(text: str) -> CpuSet:
    return CpuSet.parse(text)


def test_a_binding_as_planned_within_one_numa_node_is_ok() -> None:
    verdict = judge(cpus("0-3"), cpus("0-3"), threads=2, topology=MACHINE, others={1: cpus("4-7")})
    assert str(verdict) == "ok"
    assert verdict.narrowed_by is None


@pytest.mark.parametrize(
    ("limits", "who"),
    [
        ({"cgroup": cpus("0-1"), "launcher": cpus("0-7")}, "cgroup"),
        ({"cgroup": cpus("0-7"), "launcher": cpus("0-1,9")}, "launcher"),
        ({}, "the program itself"),
    ],
)
def test_who_narrowed_is_named(limits: dict[str, CpuSet], who: str) -> None:
    verdict = judge(cpus("0-3"), cpus("0-1"), limits=limits)
    assert verdict.narrowed_by == who
    assert str(verdict) == f"narrowed by {who} (lost 2-3)"


@pytest.mark.parametrize(
    ("planned", "effective", "threads", "others", "said"),
    [
        ("0-3", "0-15", 1, {}, "not bound; spans 2 NUMA nodes"),
        ("0-3", "4-7", 1, {}, "bound elsewhere"),
        ("0-3", "0-3", 6, {}, "6 threads on 4 CPUs"),
        ("6-9", "6-9", 1, {}, "spans 2 NUMA nodes"),
        ("0-3", "0-3", 1, {1: "2-5", 2: "3"}, "shares CPUs with ranks 1,2"),
        ("0", "0", 1, {5: "1"}, "shares a core with rank 5"),
        ("0", "0", 1, {5: "0"}, "oversubscribed (2 ranks on 1 CPUs)"),
    ],
)
def test_what_is_wrong_is_said(
    planned: str, effective: str, threads: int, others: dict[int, str], said: str
) -> None:
    verdict = judge(
        cpus(planned),
        cpus(effective),
        threads=threads,
        topology=MACHINE,
        others={rank: cpus(text) for rank, text in others.items()},
    )
    assert str(verdict) == said


def reports(count: int) -> list[RankReport]:
    return [
        RankReport(
            rank=rank,
            node=f"node-with-a-long-name-{rank // 64:04d}.example.org",
            host_pid=4194303 - rank,
            container_pid=None,
            planned=CpuSet.of(range(rank, 256, 3)),
            effective=CpuSet.of(range(rank, 256, 3)),
            threads=16,
            verdict="spans 8 NUMA nodes",
        )
        for rank in reversed(range(count))
    ]


def test_the_table_fits_100_columns_and_is_in_rank_order() -> None:
    text = render_table(reports(130))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    ranks = [int(first) for line in lines if (first := line[:5].strip()).isdigit()]
    assert ranks == list(range(130))


def test_json_says_its_schema_and_reads_back() -> None:
    data = json.loads(to_json(reports(2)))
    assert data["schema"] == "shim.affinity/1"
    assert [entry["rank"] for entry in data["ranks"]] == [0, 1]
    assert CpuSet.parse(data["ranks"][1]["planned"]) == CpuSet.of(range(1, 256, 3))
    assert data["ranks"][0]["container_pid"] is None
