"""plan_node: the launcher's masks where there are any, else an expert's shares."""

from __future__ import annotations

import pytest

from cpusets import CpuSet, NodePlan, NodeRequest, PlanError, Topology, plan_node

TWO_SOCKETS = "pack:2 numa:2 l3:2 core:4 pu:2"  # 64 PUs; core c holds PUs 2c and 2c+1


def planned(synthetic: str, ranks: int, threads: int | None = None, allowed: str = "") -> NodePlan:
    topology = Topology.from_synthetic(synthetic)
    cpus = CpuSet.parse(allowed) if allowed else topology.complete
    return plan_node(topology, cpus, NodeRequest(tuple(range(ranks)), threads=threads))


def masks(plan: NodePlan) -> list[str]:
    return [str(placement.cpus) for placement in plan.placements]


def test_one_rank_has_the_whole_node_and_a_thread_per_core() -> None:
    plan = planned(TWO_SOCKETS, 1)
    assert masks(plan) == ["0-63"]
    assert plan.placements[0].threads == 32
    assert [str(place) for place in plan.placements[0].places[:2]] == ["0-1", "2-3"]


def test_fewer_ranks_than_numa_nodes_get_whole_ones() -> None:
    assert masks(planned(TWO_SOCKETS, 2)) == ["0-31", "32-63"]
    assert masks(planned(TWO_SOCKETS, 3)) == ["0-15", "16-31", "32-63"]


def test_a_rank_per_l3_sits_on_its_l3() -> None:
    plan = planned(TWO_SOCKETS, 8)
    assert masks(plan) == [f"{8 * i}-{8 * i + 7}" for i in range(8)]


def test_ranks_follow_caches_where_no_share_gets_smaller_by_it() -> None:
    plan = planned("numa:1 l3:2 core:4 pu:1", 3)
    assert masks(plan) == ["0-1", "2-3", "4-7"]
    assert {placement.threads for placement in plan.placements} == {2}


def test_ranks_cross_caches_where_following_them_would_starve_one() -> None:
    # 4 ranks on 12 cores behind 3 caches: 3 cores each, not 2+2+4+4.
    assert masks(planned("numa:1 l3:3 core:4 pu:1", 4)) == ["0-2", "3-5", "6-8", "9-11"]


def test_more_ranks_than_cores_put_two_on_the_siblings_of_a_core() -> None:
    assert masks(planned("core:2 pu:2", 3)) == ["0", "1", "2-3"]


def test_more_ranks_than_cpus_share_their_numa_node_and_it_is_said() -> None:
    plan = planned("numa:2 core:2 pu:1", 6)
    assert plan.source == "oversubscribed"
    assert masks(plan) == ["0-1"] * 3 + ["2-3"] * 3


def test_more_ranks_than_cpus_are_refused_where_nobody_asked_for_it() -> None:
    topology = Topology.from_synthetic("core:2 pu:1")
    request = NodeRequest((0, 1, 2), oversubscribe=False)
    with pytest.raises(PlanError, match="3 ranks do not fit on 2 CPUs") as caught:
        plan_node(topology, topology.complete, request)
    assert "at most 2" in caught.value.hint


def test_only_allowed_cpus_are_used() -> None:
    assert masks(planned(TWO_SOCKETS, 2, allowed="4-11,40-47")) == ["4-11", "40-47"]


def test_the_launchers_masks_are_kept() -> None:
    topology = Topology.from_synthetic(TWO_SOCKETS)
    given = {4: CpuSet.parse("0-3"), 7: CpuSet.parse("32-35")}
    plan = plan_node(topology, topology.complete, NodeRequest((4, 7), given=given))
    assert plan.source == "launcher"
    assert masks(plan) == ["0-3", "32-35"]
    assert [placement.threads for placement in plan.placements] == [4, 4]
    assert [str(place) for place in plan.placements[0].places] == ["0", "1", "2", "3"]


def test_threads_sit_on_distinct_cores_and_use_all_of_the_share() -> None:
    plan = planned(TWO_SOCKETS, 8, threads=2)
    assert [str(place) for place in plan.placements[0].places] == ["0-3", "4-7"]


def test_more_threads_than_cpus_have_one_place_per_cpu() -> None:
    placement = planned("core:2 pu:1", 1, threads=5).placements[0]
    assert placement.threads == 5
    assert [str(place) for place in placement.places] == ["0", "1"]


@pytest.mark.parametrize(
    ("allowed", "request_", "said"),
    [
        ("100-110", NodeRequest((0,)), "None of the allowed CPUs"),
        ("0-7", NodeRequest((0, 0)), "twice"),
        ("0-7", NodeRequest((0,), threads=0), "impossible"),
        ("0-7", NodeRequest((0, 1), given={0: CpuSet.parse("0")}), "not rank 1"),
        ("0-7", NodeRequest((0,), given={0: CpuSet.parse("8-9")}), "allows only 0-7"),
    ],
)
def test_what_cannot_be_is_refused(allowed: str, request_: NodeRequest, said: str) -> None:
    topology = Topology.from_synthetic(TWO_SOCKETS)
    with pytest.raises(PlanError, match=said) as caught:
        plan_node(topology, CpuSet.parse(allowed), request_)
    assert caught.value.hint
