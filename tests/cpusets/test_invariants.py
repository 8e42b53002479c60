"""The invariants of docs/mapping.md, over random machines, cpusets and requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpusets import CpuSet, NodePlan, NodeRequest, PlanError, Topology, plan_node
from cpusets.axes import OBJECTS, MapBy, RankBy
from cpusets.mapping import per_rank
from cpusets.plan import usable_cpus
from cpusets.shares import apportion, cores_of, memory_domains, spread
from tests.cpusets.strategies import (
    counts,
    machine,
    many,
    maybe,
    nodes,
    real_machines,
    requests,
)

Machine = tuple[Topology, CpuSet]


def plan_or_none(node: Machine, request: NodeRequest) -> NodePlan | None:
    """The plan, or None if it was refused as I17 says."""
    try:
        return plan_node(*node, request)
    except PlanError as error:
        refusal = error
    assert refusal.message.endswith("."), "I17"
    assert refusal.hint.endswith("."), "I17"
    return None


def auto(node: Machine, ranks: int, threads: int | None = None) -> NodePlan:
    return plan_node(*node, NodeRequest(tuple(range(ranks)), threads=threads))


def check_any_plan(node: Machine, request: NodeRequest, plan: NodePlan) -> None:
    """I1–I4 and I16, which hold for every plan."""
    topology, allowed = node
    usable = usable_cpus(topology, allowed, request)
    assert tuple(p.rank for p in plan.placements) == request.ranks  # I1
    for p in plan.placements:
        assert p.cpus, "I2"
        assert p.cpus <= usable, "I2"
        if request.bind_to == "none":
            assert p.places == ()
            continue
        assert len(p.places) == min(p.threads, len(p.cpus)), "I3"
        assert all(place and place <= p.cpus for place in p.places), "I3"
        assert all(a.isdisjoint(b) for a, b in combinations(p.places, 2)), "I3"
        if p.threads <= len(cores_of(topology, p.cpus)):
            cores = [set(topology.spanned("core", place)) for place in p.places]
            assert all(a.isdisjoint(b) for a, b in combinations(cores, 2)), "I4"
        near = [n.os_index for n in topology.numa_nodes if n.cpus & p.cpus and n.memory]
        assert set(p.memory.nodes) <= set(near), "I16"


@many
@given(nodes(), requests())
def test_i1_to_i4_i16_i17_any_request_is_planned_within_its_bounds_or_refused(
    node: Machine, request: NodeRequest
) -> None:
    plan = plan_or_none(node, request)
    if plan is not None:
        check_any_plan(node, request, plan)


@many
@given(nodes(), counts(), maybe(st.integers(1, 9)))
def test_i5_i6_auto_shares_neither_cpus_nor_cores_while_there_are_enough(
    node: Machine, ranks: int, threads: int | None
) -> None:
    topology, allowed = node
    plan = auto(node, ranks, threads)
    pairs = list(combinations([p.cpus for p in plan.placements], 2))
    if ranks <= len(allowed):
        assert all(a.isdisjoint(b) for a, b in pairs), "I5"
    if ranks <= len(cores_of(topology, allowed)):
        cores = [set(cores_of(topology, allowed & p.cpus)) for p in plan.placements]
        whole = set(cores_of(topology, allowed))
        assert all(mine <= whole for mine in cores), "I6"


@many
@given(nodes(), counts())
def test_i7_auto_crosses_a_memory_domain_only_with_all_of_it(node: Machine, ranks: int) -> None:
    topology, allowed = node
    domains = memory_domains(topology, allowed)
    for p in auto(node, ranks).placements:
        touched = [domain for domain in domains if domain & p.cpus]
        if len(touched) > 1:
            assert all(domain <= p.cpus for domain in touched)


@many
@given(nodes(), counts())
def test_i8_auto_is_balanced(node: Machine, ranks: int) -> None:
    topology, allowed = node
    if ranks > len(cores_of(topology, allowed)):
        return
    plan = auto(node, ranks)
    per_domain: dict[int, set[int]] = {}
    for domain in memory_domains(topology, allowed):
        inside = [p.cpus for p in plan.placements if p.cpus <= domain]
        cores = len(cores_of(topology, domain))
        per_domain.setdefault(cores, set()).add(len(inside))
        for cpus in inside:
            assert len(cores_of(topology, cpus)) >= cores // len(inside)
    if ranks >= len(memory_domains(topology, allowed)) and len(per_domain) == 1:
        assert all(max(found) - min(found) <= 1 for found in per_domain.values())


@many
@given(nodes(), requests())
def test_i9_equal_inputs_give_equal_plans(node: Machine, request: NodeRequest) -> None:
    topology, allowed = node
    fresh = replace(topology)  # an equal machine without anything remembered
    assert plan_or_none(node, request) == plan_or_none((fresh, allowed), request)


@many
@given(
    nodes(),
    counts(),
    st.integers(1, 4),
    st.sampled_from([None, *(MapBy(kind) for kind in ("slot", *OBJECTS))]),
    st.sampled_from([None, "core", "hwthread"]),
)
def test_i10_exactly_as_many_cores_as_asked(
    node: Machine, ranks: int, need: int, map_by: MapBy | None, bind_to: str | None
) -> None:
    request = NodeRequest(
        tuple(range(ranks)),
        map_by=map_by,
        cpus_per_rank=need,
        bind_to=bind_to,
        oversubscribe=False,
    )
    plan = plan_or_none(node, request)
    if plan is None:
        return
    for p in plan.placements:
        assert len(node[0].parts(request.unit, p.cpus)) == need
    assert all(a.cpus.isdisjoint(b.cpus) for a, b in combinations(plan.placements, 2))


@many
@given(nodes(), counts(), st.sampled_from([k for k in OBJECTS if k not in ("core", "hwthread")]))
def test_i11_mapped_by_an_object_ranks_stay_within_one_and_are_dealt_evenly(
    node: Machine, ranks: int, kind: str
) -> None:
    topology, allowed = node
    request = NodeRequest(tuple(range(ranks)), map_by=MapBy(kind), oversubscribe=False)
    plan = plan_or_none(node, request)
    if plan is None:
        return
    objects = topology.parts(kind, allowed)
    taken = [sum(p.cpus <= obj for p in plan.placements) for obj in objects]
    assert sum(taken) == ranks
    most = max(taken)
    for obj, count in zip(objects, taken, strict=True):
        full = count in (len(cores_of(topology, obj)), len(obj))
        assert count >= most - 1 or full


@many
@given(nodes(), counts(), st.integers(1, 4), st.sampled_from(OBJECTS))
def test_i12_ppr_keeps_its_limit_and_fills_in_order(
    node: Machine, ranks: int, per: int, kind: str
) -> None:
    topology, allowed = node
    request = NodeRequest(tuple(range(ranks)), map_by=MapBy("ppr", per=per, over=kind))
    plan = plan_or_none(node, request)
    if plan is None:
        return
    objects = topology.parts("pu" if kind == "hwthread" else kind, allowed)
    at = [next(i for i, obj in enumerate(objects) if p.cpus <= obj) for p in plan.placements]
    assert at == sorted(at)
    assert max(Counter(at).values()) <= per
    assert all(count == per for count in list(Counter(at).values())[:-1])


@many
@given(nodes(), requests(), st.sampled_from([k for k in OBJECTS if k != "hwthread"]))
def test_i13_bound_to_an_object_a_rank_has_all_of_one(
    node: Machine, request: NodeRequest, target: str
) -> None:
    topology, allowed = node
    request = replace(request, bind_to=target, gpus_per_rank=0)
    plan = plan_or_none(node, request)
    if plan is None or plan.source == "oversubscribed":
        return
    usable = usable_cpus(topology, allowed, request)
    exact = target == "core" or per_rank(request) is not None
    for p in plan.placements:
        touched = [obj for obj in topology.parts(target, usable) if obj & p.cpus]
        assert all(obj <= p.cpus for obj in touched)
        assert exact or len(touched) == 1


@many
@given(nodes(), requests(), st.sampled_from(RankBy), st.sampled_from(RankBy))
def test_i14_the_order_of_ranks_changes_no_place(
    node: Machine, request: NodeRequest, one: RankBy, other: RankBy
) -> None:
    plans = [plan_or_none(node, replace(request, rank_by=order)) for order in (one, other)]
    places = [None if plan is None else Counter(p.cpus for p in plan.placements) for plan in plans]
    assert places[0] == places[1]


@many
@given(st.lists(st.integers(0, 50), min_size=1).filter(any), st.integers(0, 100))
def test_apportioning_and_spreading_are_proportional(weights: list[int], count: int) -> None:
    for parts in (apportion(weights, count), spread(weights, count)):
        assert sum(parts) == count
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part - count * weight / sum(weights)) < 1
            assert part <= weight or count > sum(weights)


def test_the_invariants_hold_on_real_machines(capsys: pytest.CaptureFixture[str]) -> None:
    used = 0
    for path in real_machines():
        topology = Topology.from_xml(path)
        node = (topology, topology.allowed)
        used += 1
        for ranks in (1, 2, 3, 4, 7, 8, 16, 33):
            plan = auto(node, ranks)
            check_any_plan(node, NodeRequest(tuple(range(ranks))), plan)
            if ranks <= len(topology.allowed):
                masks = [p.cpus for p in plan.placements]
                assert all(a.isdisjoint(b) for a, b in combinations(masks, 2)), path.name
            for kind in OBJECTS:
                request = NodeRequest(tuple(range(ranks)), map_by=MapBy(kind), cpus_per_rank=1)
                mapped = plan_or_none(node, request)
                if mapped is not None:
                    check_any_plan(node, request, mapped)
    with capsys.disabled():
        print(f" [{used} real machines used] ", end="")


def test_a_machine_of_2048_cpus_is_planned() -> None:
    topology = machine("pack:8 numa:2 l3:8 core:8 pu:2")
    plan = auto((topology, topology.complete), 64, 16)
    assert {len(p.cpus) for p in plan.placements} == {32}
