"""Partitions in the agent: who sits where in a share, and what a change does to real threads."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpusets import CpuSet, CpusetsError, NodeRequest, RankPlacement, Topology, get_affinity
from cpusets.binding import set_affinity, threads_of
from cpusets.following import move_process, seat_cpus, seat_of
from cpusets.partition_spec import parse_partitions
from cpusets.partitions import carve
from shim.agent.control import answer
from shim.agent.placement import Placement, plan_placement
from shim.agent.share_groups import make_groups, remove_groups
from shim.agent.shares import Shares
from tests.cpusets.processes import waiting

MACHINE = Topology.from_synthetic("pack:2 numa:2 l3:1 core:4 pu:2")  # core c holds PUs 2c, 2c+1
PAPER = """partitions:
  mpi: 50%
  openmp: inherit
  analysis: {cores: 2, from: last}
  io: {cores: 2, shared: true}
"""


def planned(text: str, ranks: int, homes: dict[int, str | None] | None = None) -> Placement:
    request = NodeRequest(tuple(range(ranks)))
    return plan_placement(MACHINE, MACHINE.complete, request, text, homes)


def shares(placement: Placement) -> Shares:
    assert placement.declared
    return Shares(placement.topology, placement.declared, placement.plan, {})


def cpus(placement: Placement) -> list[str]:
    return [str(one.cpus) for one in placement.plan.placements]


def test_ranks_divide_the_first_share_unless_they_name_another() -> None:
    assert cpus(planned(PAPER, 4)) == ["0-3", "4-7", "8-11", "12-15"]
    assert cpus(planned(PAPER, 3, {2: "analysis"})) == ["0-7", "8-15", "28-31"]


def test_a_process_is_put_into_another_share_as_a_whole_or_inherits() -> None:
    found = shares(planned(PAPER, 2))
    assert found.place(1, None)[0] == "mpi"
    home, place = found.place(1, "analysis")
    assert (home, str(place.cpus), place.threads) == ("analysis", "28-31", 2)
    home, place = found.place(1, "openmp")
    assert (home, str(place.cpus)) == ("mpi", "8-15")
    with pytest.raises(CpusetsError, match="no partition"):
        found.place(1, "mpj")


def test_ranks_that_come_after_a_change_get_what_is_planned_now() -> None:
    found = shares(planned(PAPER, 2))
    found.resize("mpi", "4", ())
    assert [str(found.place(rank, None)[1].cpus) for rank in (0, 1)] == ["0-3", "4-7"]
    found.resize("analysis", "25%", ())
    assert str(found.table.get("analysis").cpus) == "8-11,28-31"


sizes = st.tuples(
    st.sampled_from(["mpi", "analysis", "io", "openmp", "none"]),
    st.sampled_from(["1", "2", "3", "6", "100%", "x"]),
    st.lists(st.sampled_from(["mpi", "analysis", "io"]), max_size=2),
)


@given(st.lists(sizes, max_size=6), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_p1_to_p3_hold_after_any_requests(
    requests: list[tuple[str, str, list[str]]], ranks: int
) -> None:
    placement = planned(PAPER, min(ranks, 12))
    found = shares(placement)
    for name, size, donors in requests:
        reply = answer(["partition", "set", name, size, *donors], found)
        assert reply.text, "a table, or why not"
        own = {p.name: p for p in found.table.partitions if not p.inherits}
        assert own["mpi"].cpus.isdisjoint(own["analysis"].cpus), "P1"
        assert (own["mpi"].cpus | own["analysis"].cpus).isdisjoint(own["io"].cpus), "P1"
        assert all(p.cpus and p.cpus <= MACHINE.complete for p in own.values()), "P2, P3"
        for one in placement.plan.placements:
            assert found.place(one.rank, None)[1].cpus <= own["mpi"].cpus


def test_what_an_agent_is_asked_is_answered_with_a_sentence() -> None:
    found = shares(planned(PAPER, 1))
    assert "analysis" in answer(["partition", "list"], found).text
    for words, sentence in (
        (["partition", "set", "mpi", "rest"], "no size"),
        (["partition", "set", "mpi", "16"], "cannot grow"),
        (["partition", "set", "openmp", "1"], "cannot be given"),
        (["nonsense"], "does not know"),
    ):
        reply = answer(words, found)
        assert reply.exit_code
        assert sentence in reply.text
    assert "no partitions" in answer(["partition", "list"], None).text


def placed(*places: str) -> RankPlacement:
    masks = tuple(CpuSet.parse(place) for place in places)
    whole = CpuSet.of(cpu for mask in masks for cpu in mask)
    return RankPlacement(0, whole, len(masks), masks)


def test_a_thread_keeps_its_number_and_one_without_floats() -> None:
    old, new = placed("0-1", "2-3", "4-5"), placed("8", "9")
    assert [seat_of(CpuSet.parse(mask), old) for mask in ("1", "4-5", "0-5")] == [0, 2, None]
    assert [str(seat_cpus(seat, new)) for seat in (0, 1, 2, None)] == ["8", "9", "8", "8-9"]


def test_real_threads_share_a_cpu_for_a_while_and_part_again() -> None:
    here = get_affinity()
    first, *_, last = here
    if first == last:
        pytest.fail("this test needs two CPUs")
    wide, narrow = placed(str(first), str(last)), placed(str(first))
    with waiting() as process:
        tids = list(threads_of(process.pid))
        for at, tid in enumerate(tids):
            set_affinity(wide.places[at % 2], tid)
        seats: dict[int, int | None] = {}
        assert move_process(process.pid, wide, narrow, seats) == narrow.cpus
        assert {str(get_affinity(tid)) for tid in tids} == {str(first)}
        assert move_process(process.pid, narrow, wide, seats) == wide.cpus
        assert [get_affinity(tid) for tid in tids] == [wide.places[at % 2] for at in range(4)]
    assert move_process(process.pid, wide, narrow, seats) == CpuSet()


def test_a_members_processes_are_moved_with_it() -> None:
    topology = Topology.from_system()
    here = get_affinity() & topology.complete
    specs = parse_partitions("partitions: {mpi: {percent: 100}}")
    assert carve(topology, here, specs).get("mpi").cpus == here
    placement = plan_placement(
        topology, here, NodeRequest((0,)), "partitions: {mpi: {percent: 100}}"
    )
    found = shares(placement)
    with waiting() as process:
        found.enter(process.pid, *found.place(0, None))
        found.resize("mpi", "1", ())
        share = found.table.get("mpi").cpus
        assert share < here
        assert {get_affinity(tid) for tid in threads_of(process.pid)} == {share}
        assert str(process.pid) in answer(["partition", "list"], found).text
        found.leave(process.pid)
        assert str(process.pid) not in answer(["partition", "list"], found).text


def test_a_change_between_ticket_and_binding_is_made_up() -> None:
    topology = Topology.from_system()
    here = get_affinity() & topology.complete
    whole = "partitions: {mpi: {percent: 100}}"
    found = shares(plan_placement(topology, here, NodeRequest((0,)), whole))
    with waiting() as process:
        found.enter(process.pid, *found.place(0, None))
        found.resize("mpi", "1", ())
        late = set_affinity(here, process.pid).effective  # by a ticket from before
        found.arrived(process.pid, late)
        assert get_affinity(process.pid) == found.table.get("mpi").cpus


def test_where_control_groups_may_be_made_they_hold_the_members() -> None:
    """Tests run as root, whose control group is its own to divide."""
    topology = Topology.from_system()
    here = get_affinity() & topology.complete
    whole = "partitions: {mpi: {percent: 100}}"
    placement = plan_placement(topology, here, NodeRequest((0,)), whole)
    assert placement.declared
    groups = make_groups(placement.declared.table, f"test{os.getpid()}")
    assert list(groups) == ["mpi"], "tests run as root"
    try:
        assert make_groups(placement.declared.table, f"test{os.getpid()}") == {}, "taken"
        found = Shares(topology, placement.declared, placement.plan, groups)
        with waiting() as process:
            found.enter(process.pid, *found.place(0, None))
            assert process.pid in groups["mpi"].processes()
            found.resize("mpi", "1", ())
            share = found.table.get("mpi").cpus
            assert groups["mpi"].effective() == share
            assert {get_affinity(tid) for tid in threads_of(process.pid)} == {share}
            with pytest.raises(CpusetsError):
                set_affinity(here - share, process.pid)
            found.resize("mpi", "100%", ())
            assert groups["mpi"].effective() == here
            assert {get_affinity(tid) for tid in threads_of(process.pid)} == {here}
    finally:
        remove_groups(groups)
    assert not groups["mpi"].path.exists()
