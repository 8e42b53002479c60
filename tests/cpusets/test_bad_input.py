"""Whatever is wrong with the input, the answer is a sentence, and never a crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cpusets import CpuSet, NodeRequest, PlanError, Topology, plan_node
from cpusets.axes import parse_bind_to, parse_map_by, parse_rank_by
from cpusets.explicit import parse_cpu_bind
from cpusets.job import Node, plan_job, plan_rankfile
from cpusets.options import MappingOptions, parse_gpus, parse_reserve, request_on
from cpusets.rankfile import parse_rankfile
from tests.cpusets.strategies import machine

FIXTURE = Path(__file__).with_name("fixtures") / "four-gpus.xml"
REPOSITORY = Path(__file__).parents[2]
MACHINE = machine("pack:2 numa:2 l3:1 core:4 pu:2")


def test_damaged_xml_is_loaded_or_refused_and_never_crashes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.cpusets.fuzz_xml", str(FIXTURE), "0", "1000"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=240,
        check=False,
    )
    seeds = [line for line in done.stderr.splitlines() if line.startswith("seed")]
    assert done.returncode == 0, f"died at {seeds[-1]}"
    loaded, refused = map(int, done.stdout.split())
    assert loaded > 100, "some injuries are harmless"
    assert refused > 100, "and some are not"


def refusal(request: MappingOptions, ranks: int = 8, topology: Topology = MACHINE) -> PlanError:
    everything = topology.complete
    with pytest.raises(PlanError) as caught:
        plan_node(topology, everything, request_on(request, topology, everything, range(ranks)))
    assert caught.value.message.endswith(".")
    assert caught.value.hint.endswith(".")
    return caught.value


@pytest.mark.parametrize(
    ("options", "ranks", "message", "hint"),
    [
        (MappingOptions(), 33, "33 ranks do not fit on 32 CPUs", "at most 32"),
        (MappingOptions(cpus_per_rank=17), 1, "17 cores does not fit", "at most 16 per rank"),
        (MappingOptions(cpus_per_rank=5), 4, "4 ranks of 5 cores do not fit", "at most 3 ranks"),
        (MappingOptions(cpus_per_rank=5), 4, "do not fit on 16 cores", "at most 4 cores each"),
        (MappingOptions(map_by="core"), 17, "17 ranks do not fit on 16 cores", "at most 16"),
        (MappingOptions(map_by="ppr:1:numa"), 5, "at most 4 ranks", "at least 2 per numa"),
        (MappingOptions(map_by="ppr:5:numa:pe=1"), 5, "has room for 4", "fewer"),
        (MappingOptions(map_by="l2"), 2, "no l2 to map ranks by", "package, numa, l3, core"),
        (MappingOptions(bind_to="l2"), 2, "no l2 to bind ranks to", "It has"),
        (MappingOptions(map_by="moon"), 2, "no way to map", "auto, slot"),
        (MappingOptions(rank_by="moon"), 2, "no order of ranks", "slot, fill"),
        (MappingOptions(bind_to="moon"), 2, "nothing that a rank", "none or one of"),
        (MappingOptions(mem_bind="moon"), 2, "no memory policy", "local"),
        (MappingOptions(map_by="core:pe=2", cpus_per_rank=3), 2, "contradicts", "Say it once"),
        (MappingOptions(bind_to="none", cpus_per_rank=3), 2, "contradicts", "Leave one"),
        (MappingOptions(threads=0), 2, "0 threads per rank is impossible", "at least 1"),
        (MappingOptions(smt=0), 2, "impossible", "at least 1"),
        (MappingOptions(reserve="cpus:0-31"), 2, "are reserved", "Reserve fewer"),
        (MappingOptions(reserve="some"), 2, "names no CPUs", "N:l3"),
        (MappingOptions(reserve="cpus:x"), 2, "not a list", "0-3,8"),
        (MappingOptions(gpus_per_rank="two"), 2, "no number of GPUs", "1/2"),
        (MappingOptions(gpus_per_rank="1"), 2, "no GPU with a compute driver", "driver"),
        (MappingOptions(cpu_bind="map_cpu:0,1"), 3, "2 entries for 3 ranks", "one entry"),
        (MappingOptions(cpu_bind="mask_cpu:zz"), 1, "not a CPU mask", "map_cpu"),
        (MappingOptions(cpu_bind="cores:16"), 1, "no logical core 16", "0-15"),
        (MappingOptions(cpu_bind="nice:1"), 1, "no form", "map_cpu"),
        (MappingOptions(cpu_bind="map_cpu:99"), 1, "allows only 0-31", "CPUs of the job"),
        (MappingOptions(cpu_bind="list:0", map_by="core"), 1, "contradicts", "Leave one"),
    ],
)
def test_impossible_requests_say_what_would_have_fitted(
    options: MappingOptions, ranks: int, message: str, hint: str
) -> None:
    error = refusal(options, ranks)
    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rank 0=n0 slot=0\nrank 2=n0 slot=1\n", "not rank 1"),
        ("rank 0=n0 slot=0\nrank 0=n0 slot=1\n", "appears twice"),
        ("rank zero=n0 slot=0\n", "Line 1"),
        ("rank 0=elsewhere slot=0\n", "elsewhere"),
        ("rank 0=n0 slot=99\n", "no logical core 99"),
        ("rank 0=n0 slot=9:0\n", "no package"),
        ("rank 0=n0 slot=0:9\n", "no core 9"),
        ("rank 0=n0 cpus=500\n", "allows only"),
        ("rank 0=n0 slot=a\n", "not a list"),
    ],
)
def test_wrong_rank_files_are_refused(text: str, message: str) -> None:
    node = Node("n0", MACHINE, MACHINE.complete)
    with pytest.raises(PlanError, match=message) as caught:
        plan_rankfile([node], parse_rankfile(text), NodeRequest(()))
    assert caught.value.hint.endswith(".")


def test_nodes_that_cannot_hold_the_job_are_refused_by_name() -> None:
    nodes = [Node(f"n{i}", MACHINE, MACHINE.complete) for i in range(2)]
    with pytest.raises(PlanError, match=r"9 ranks do not fit on 2 nodes with 4 ranks per node"):
        plan_job(nodes, 9, NodeRequest(()), ranks_per_node=4)
    with pytest.raises(PlanError, match="Node n0: 40 ranks"):
        plan_job(nodes, 80, NodeRequest((), oversubscribe=False))
    with pytest.raises(PlanError, match="no job"):
        plan_job([], 1, NodeRequest(()))
    with pytest.raises(PlanError, match="0 hardware threads per core is impossible"):
        plan_job(nodes, 2, NodeRequest((), smt=0))


@pytest.mark.parametrize(
    ("text", "kind", "cores"),
    [
        ("auto", None, None),
        ("Socket", "package", None),
        ("l3cache:PE=4", "l3", 4),
        ("ppr:2:NUMA", "ppr:2:numa", None),
        ("dist:mlx5_0", "dist:mlx5_0", None),
        ("node", "node", None),
    ],
)
def test_the_fields_words_are_understood(text: str, kind: str | None, cores: int | None) -> None:
    map_by, said = parse_map_by(text)
    assert (str(map_by) if map_by else None, said) == (kind, cores)


def test_words_are_read_without_regard_to_case() -> None:
    assert parse_rank_by("SPAN") == "span"
    assert parse_bind_to("Thread") == "hwthread"
    assert parse_gpus("1/2") * 2 == 1


def test_reserved_cores_come_from_the_front_of_each_object() -> None:
    everything = MACHINE.complete
    assert parse_reserve("1", MACHINE, everything) == CpuSet.parse("0-1")
    assert parse_reserve("1:l3", MACHINE, everything) == CpuSet.parse("0-1,8-9,16-17,24-25")
    assert parse_reserve("cpus:3", MACHINE, everything) == CpuSet.parse("3")


def test_explicit_forms_name_physical_or_logical_numbers() -> None:
    scattered = machine("pack:2 core:2 pu:2(indexes=pu:core)")  # PU p of core c is c + 4p
    assert parse_cpu_bind("map_cpu:1,4", (0, 1), scattered)[0] == CpuSet.parse("1")
    assert parse_cpu_bind("mask_cpu:0x11,f", (5, 6), scattered)[5] == CpuSet.parse("0,4")
    assert parse_cpu_bind("list:0-1;2", (0, 1), scattered)[0] == CpuSet.parse("0-1")
    logical = parse_cpu_bind("cores:0;1", (0, 1), scattered)
    assert logical[1] == scattered.cores[1].cpus
