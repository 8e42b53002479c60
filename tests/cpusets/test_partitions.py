"""Partitions: declared shares for several runtimes, and changes that keep P1–P4 at every step."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpusets import CpuSet, PlanError, Topology, get_affinity
from cpusets.binding import threads_of
from cpusets.moving import apply_steps
from cpusets.partition_spec import PartitionSpec, parse_partition, parse_partitions
from cpusets.partitions import PartitionTable, Step, add, carve, remove, resize
from tests.cpusets.processes import waiting
from tests.cpusets.strategies import machine, many, nodes

MACHINE = machine("pack:2 numa:2 l3:1 core:4 pu:2")  # 16 cores; core c holds PUs 2c and 2c+1

PAPER = """
partitions:
  mpi: 75%
  openmp: inherit
  analysis: {cpus: 2, from: last}
  helpers: rest
"""


def carved(text: str, topology: Topology = MACHINE) -> dict[str, str]:
    table = carve(topology, topology.complete, parse_partitions(text))
    return {partition.name: str(partition.cpus) for partition in table.partitions}


def check(table: PartitionTable) -> None:
    """P1–P3."""
    own = [p for p in table.partitions if not p.inherits]
    for one, other in combinations(own, 2):
        if one.exclusive or other.exclusive:
            assert one.cpus.isdisjoint(other.cpus), "P1"
    assert all(p.cpus <= table.allocation for p in own), "P2"
    assert all(p.cpus for p in own), "P3"


def test_the_papers_example() -> None:
    assert carved(PAPER) == {"mpi": "0-23", "openmp": "", "analysis": "30-31", "helpers": "24-29"}


def test_every_way_to_say_a_size() -> None:
    text = """
partitions:
  cache: {at: "l3:1"}
  node: {numa: 3}
  two: 2
  half: {percent: 25}
  thread: {cpus: 1, from: last}
  "left": rest
"""
    assert carved(text) == {
        "cache": "8-15",
        "node": "24-31",
        "two": "0-3",
        "half": "4-7,16-19",
        "thread": "23",
        "left": "20-22",
    }


def test_helpers_on_the_second_hardware_threads_leave_the_first_to_others() -> None:
    found = carved("partitions: {helpers: {smt: 1}, mpi: rest}")
    assert found["helpers"] == "1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31"
    assert found["mpi"] == "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30"


def test_shared_partitions_overlap_each_other_only() -> None:
    text = "partitions: {io: {cores: 2, shared: true}, log: {cores: 1, shared: true}, mpi: 14}"
    assert carved(text) == {"io": "28-31", "log": "28-29", "mpi": "0-27"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("]", "not YAML"),
        ("a: 1", "no mapping"),
        ("partitions: {}", "no mapping"),
        ("partitions: {a: rest, b: rest}", "want the rest"),
        ("partitions: {A B: 1}", "cannot name"),
        ("partitions: {a: many}", "no share"),
        ("partitions: {a: true}", "no share"),
        ("partitions: {a: 0}", "impossible"),
        ("partitions: {a: 120%}", "impossible"),
        ("partitions: {a: {cpus: 1, cores: 2}}", "not exactly one size"),
        ("partitions: {a: {cpus: 1, colour: red}}", "unknown colour"),
        ("partitions: {a: {cpus: 1, from: middle}}", "no known value"),
        ("partitions: {a: {cores: x}}", "no number"),
        ("partitions: {a: {at: moon}}", "no place"),
        ("partitions: {a: {at: 'l3:x'}}", "no place"),
        ("partitions: {a: {at: 'l3:2-'}}", "not a list"),
        ("partitions: {a: {at: 'l3:9'}}", "no l3 9"),
        ("partitions: {a: 17}", "16 are left"),
        ("partitions: {a: {at: 'l3:0'}, b: {numa: 0}}", "another partition has"),
        ("partitions: {a: 100%, b: rest}", "Nothing is left"),
    ],
)
def test_impossible_declarations_are_refused(text: str, said: str) -> None:
    with pytest.raises(PlanError, match=said) as caught:
        carved(text)
    assert caught.value.hint


def test_growing_takes_free_cores_first_then_from_the_donors() -> None:
    table = carve(MACHINE, MACHINE.complete, parse_partitions("partitions: {a: 4, b: 8}"))
    grown, steps = resize(MACHINE, table, "a", 10, donors=["b"])
    assert steps == (
        Step("b", CpuSet.parse("8-19")),
        Step("a", CpuSet.parse("0-7,20-31")),
    )
    check(grown)


def test_what_cannot_grow_says_how_far_it_could() -> None:
    table = carve(MACHINE, MACHINE.complete, parse_partitions("partitions: {a: 4, b: 12}"))
    with pytest.raises(PlanError, match="cannot grow by 12 cores: 11 can be had") as caught:
        resize(MACHINE, table, "a", 16, donors=["b"])
    assert "at most 15" in caught.value.hint
    with pytest.raises(PlanError, match="no partition 'c'"):
        resize(MACHINE, table, "c", 1)


sizes = st.sampled_from(["10%", "50%", 1, 2, 5, "rest", "inherit"]) | st.fixed_dictionaries(
    {"cores": st.integers(1, 3), "from": st.sampled_from(["first", "last"])},
    optional={"shared": st.booleans()},
)


@many
@given(
    nodes(),
    st.lists(sizes, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12)), max_size=5),
)
def test_p1_to_p4_hold_after_every_step_of_every_change(
    node: tuple[Topology, CpuSet], shares: list[object], changes: list[tuple[int, int]]
) -> None:
    topology, allowed = node
    specs: list[PartitionSpec] = [parse_partition(f"p{i}", share) for i, share in enumerate(shares)]
    try:
        table = carve(topology, allowed, specs)
    except PlanError:
        return
    check(table)
    for number, cores in changes:
        name = f"p{number}"
        donors = [p.name for p in table.partitions]
        try:
            after, steps = resize(topology, table, name, cores, donors=donors)
        except PlanError:
            continue
        moment = table
        for step in steps:
            moment = moment.replaced(step.name, step.cpus)
            check(moment)
        assert moment == after
        assert len(topology.parts("core", after.get(name).cpus)) == cores
        table = after


def test_a_runtime_that_announces_itself_gets_room_and_gives_it_back() -> None:
    table = carve(MACHINE, MACHINE.complete, parse_partitions("partitions: {mpi: 100%}"))
    table, steps = add(MACHINE, table, "openshmem", 4, donors=["mpi"])
    assert [step.name for step in steps] == ["mpi", "openshmem"]
    check(table)
    assert remove(table, "openshmem").free == table.get("openshmem").cpus
    with pytest.raises(PlanError):
        add(MACHINE, table, "openshmem", 1)


def test_running_processes_and_their_threads_are_moved() -> None:
    mine = get_affinity()
    first, last = CpuSet.of([mine.first()]), CpuSet.of([mine.last()])
    with waiting() as one, waiting() as other:
        steps = (Step("a", first), Step("b", last))
        moved = apply_steps(steps, {"a": [one.pid], "b": [other.pid]})
        assert [m.by for m in moved] == ["affinity", "affinity"]
        assert {get_affinity(tid) for tid in threads_of(one.pid)} == {first}
        assert {get_affinity(tid) for tid in threads_of(other.pid)} == {last}
        assert moved[0].bound[one.pid].effective == first


def test_a_process_that_has_ended_is_left_out() -> None:
    with waiting() as process:
        pid = process.pid
    (moved,) = apply_steps((Step("a", get_affinity()),), {"a": [pid]})
    assert moved.bound == {}


def test_tables_are_values() -> None:
    table = carve(MACHINE, MACHINE.complete, parse_partitions(PAPER))
    assert replace(table) == table
