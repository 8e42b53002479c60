"""I18: on chips with cores of several speeds, `auto` uses the fast ones alone if they suffice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpusets import CpuSet, NodeRequest, Topology, plan_node
from cpusets.axes import MapBy
from cpusets.cpuset import union
from cpusets.shares import cores_of
from cpusets.topology import CpuKind
from tests.cpusets.strategies import machine, many


def hybrid(fast: int, slow: int) -> Topology:
    """*fast* cores of two hardware threads (PUs 0…), then as many slow ones as said."""
    chip = machine(f"pack:1 core:{fast + slow} pu:2")
    speeds = (range(2 * fast), 2), (range(2 * fast, 2 * (fast + slow)), 0)
    kinds = tuple(CpuKind(CpuSet.of(cpus), speed, "") for cpus, speed in speeds)
    return replace(chip, cpu_kinds=kinds)


def used(topology: Topology, request: NodeRequest) -> CpuSet:
    plan = plan_node(topology, topology.complete, request)
    return union(one.cpus for one in plan.placements)


@many
@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 12),
    st.none() | st.integers(1, 4),
    st.booleans(),
)
def test_i18(fast: int, slow: int, ranks: int, per_rank: int | None, as_threads: bool) -> None:
    if ranks * (per_rank or 1) > fast + slow:
        return
    topology = hybrid(fast, slow)
    request = NodeRequest(
        tuple(range(ranks)),
        threads=per_rank if as_threads else None,
        cpus_per_rank=None if as_threads else per_rank,
    )
    found = used(topology, request)
    quick = topology.cpu_kinds[0].cpus
    if ranks * (per_rank or 1) <= fast:
        assert found <= quick, "I18"
    else:
        assert found - quick, "I18: the fast ones did not suffice"


@pytest.mark.parametrize(
    "request_",
    [
        NodeRequest((0, 1), map_by=MapBy("numa")),
        NodeRequest((0, 1), given={0: CpuSet.parse("8"), 1: CpuSet.parse("9")}),
    ],
)
def test_what_the_user_or_the_launcher_says_is_done(request_: NodeRequest) -> None:
    topology = hybrid(4, 4)
    if request_.given is None:
        assert len(cores_of(topology, used(topology, request_))) == 8
    else:
        assert used(topology, request_) == CpuSet.parse("8-9")


def test_kinds_of_unknown_speed_are_alike() -> None:
    topology = hybrid(4, 4)
    blind = replace(
        topology, cpu_kinds=tuple(replace(k, efficiency=-1) for k in topology.cpu_kinds)
    )
    assert used(blind, NodeRequest((0, 1))) == topology.complete
