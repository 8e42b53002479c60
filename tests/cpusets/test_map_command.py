"""`shim map`: the same plan without running anything, in the notations of other tools."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cpusets import CpuSet, NodeRequest, Topology
from cpusets.axes import MapBy, RankBy
from cpusets.job import Node, plan_job, plan_rankfile
from cpusets.rankfile import parse_rankfile
from shim.cli import main
from tests.cpusets.strategies import machine

FIXTURE = str(Path(__file__).with_name("fixtures") / "four-gpus.xml")
MACHINE = "pack:2 numa:2 l3:1 core:4 pu:2"


def shim_map(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["map", *arguments]) == 0
    return capsys.readouterr().out


def test_this_machine_is_planned_with_nothing_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "ok" in shim_map(capsys, "-n", "1")


def test_the_table_fits_and_says_how_numbers_count(capsys: pytest.CaptureFixture[str]) -> None:
    text = shim_map(capsys, "-n", "4", "--topology", FIXTURE, "--gpus-per-rank", "1")
    assert max(map(len, text.splitlines())) <= 100
    assert "operating system's numbers" in text
    assert "cuda2 0000:40:00.0" in text


def test_json_holds_the_whole_plan(capsys: pytest.CaptureFixture[str]) -> None:
    text = shim_map(
        capsys, "-n", "4", "--topology", FIXTURE, "--gpus-per-rank", "1", "--mem-bind", "bind",
        "--output", "json",
    )  # fmt: skip
    data = json.loads(text)
    assert data["schema"] == "shim.map/1"
    (node,) = data["nodes"]
    assert node["ranks"][3] == {
        "rank": 3,
        "cpus": "12-15",
        "cores_logical": [6, 7],
        "numa": [3],
        "threads": 2,
        "places": ["12-13", "14-15"],
        "gpus": [
            {
                "name": "cuda2",
                "pci": "0000:40:00.0",
                "uuid": "GPU-00000000-0000-0000-0000-000000000002",
            }
        ],
        "memory": "bind:3",
    }


def test_slurm_masks_are_one_option_where_nodes_are_alike(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alike = shim_map(
        capsys, "-n", "4", "--nodes", "2", "--topology", "core:4 pu:1", "--output", "slurm"
    )
    assert alike == "--cpu-bind=mask_cpu:0x3,0xc\n"
    mixed = shim_map(
        capsys, "-n", "3", "--topology", "core:4 pu:1", "--topology", "core:2 pu:1",
        "--output", "slurm",
    )  # fmt: skip
    assert mixed == "n0: --cpu-bind=mask_cpu:0x3,0xc\nn1: --cpu-bind=mask_cpu:0x3\n"


def test_a_rank_file_that_was_written_gives_the_same_plan_when_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "ranks"
    options = ["--topology", MACHINE, "--nodes", "2"]
    written = shim_map(capsys, "-n", "8", *options, "--map-by", "numa", "--output", "rankfile")
    assert written.startswith("rank 0=n0 slot=0-3\n")
    path.write_text("# a comment\n" + written, encoding="utf-8")
    again = shim_map(capsys, "--rankfile", str(path), *options, "--output", "rankfile")
    assert again == written


def test_rank_files_of_open_mpi_are_understood() -> None:
    node = Node("a", machine(MACHINE), machine(MACHINE).complete)
    text = "rank 0=+n0 slot=1:0-1\nrank 1=a slots=0:2;1:3\nrank 2=a cpus=4\n"
    plan = plan_rankfile([node], parse_rankfile(text), NodeRequest(()))
    masks = [str(p.cpus) for _, p in plan.placements()]
    assert masks == ["16-19", "4-5,22-23", "4"]


def test_openmp_variables_are_ready_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    text = shim_map(capsys, "-n", "2", "--topology", "core:4 pu:1", "--output", "openmp")
    assert text.splitlines()[1] == (
        "rank 1: OMP_NUM_THREADS=2 OMP_PLACES={2},{3} OMP_PROC_BIND=close"
    )


def test_the_difference_of_two_requests(capsys: pytest.CaptureFixture[str]) -> None:
    text = shim_map(
        capsys, "-n", "2", "--topology", MACHINE, "--diff", "--map-by core", "--map-by l3 -c 1"
    )
    assert "1 ranks differ, 1 are the same." in text
    assert "n0: 2-3, 1 threads" in text
    assert "n0: 8-9, 1 threads" in text


def test_a_restricted_machine(capsys: pytest.CaptureFixture[str]) -> None:
    text = shim_map(
        capsys, "-n", "2", "--topology", MACHINE, "--allowed", "4-7", "--output", "slurm"
    )
    assert text == "--cpu-bind=mask_cpu:0x30,0xc0\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-n", "99", "--topology", "core:2 pu:1"],
        ["-n", "1", "--topology", "missing.xml"],
        ["-n", "1", "--topology", "nonsense"],
        ["-n", "1", "--allowed", "x"],
        ["-n", "1", "--nodes", "0"],
        ["-n", "0"],
        ["-n", "1", "--rankfile", "missing"],
        ["-n", "2", "--nodes", "2", "--cpu-bind", "map_cpu:0,1"],
    ],
)
def test_mistakes_are_two_sentences(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(["map", *arguments]) == 125
    error = capsys.readouterr().err
    assert error.startswith("shim: ")
    assert len(error.strip().splitlines()) == 2
    assert "Traceback" not in error


def test_the_picture_shows_every_cpu_and_rank(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "node.svg"
    shim_map(
        capsys, "-n", "4", "--topology", FIXTURE, "--allowed", "0-13", "--gpus-per-rank", "1",
        "--output", "svg", "-o", str(path),
    )  # fmt: skip
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 16
    assert "CPU 12: ranks 3" in titles
    assert "CPU 14: free" in titles
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Package 1", "NUMA 3", "rank 0: 0-3", "not allowed"} <= texts


def test_ranks_are_dealt_over_nodes_in_turn() -> None:
    topology = machine("core:4 pu:1")
    nodes = [Node(f"n{i}", topology, topology.complete) for i in range(2)]
    by_node = plan_job(nodes, 4, NodeRequest((), map_by=MapBy("node")))
    assert [name for name, _ in by_node.placements()] == ["n0", "n1", "n0", "n1"]
    ranked = plan_job(nodes, 4, NodeRequest((), rank_by=RankBy.NODE))
    assert [name for name, _ in ranked.placements()] == ["n0", "n1", "n0", "n1"]


def test_unequal_nodes_get_ranks_in_proportion_to_their_cores() -> None:
    big, small = machine("core:6 pu:1"), machine("core:2 pu:1")
    nodes = [Node("big", big, big.complete), Node("small", small, small.complete)]
    plan = plan_job(nodes, 4, NodeRequest(()))
    assert [name for name, _ in plan.placements()] == ["big", "big", "big", "small"]
    full = plan_job(nodes, 5, NodeRequest(()), ranks_per_node=4)
    assert [len(n.plan.placements) for n in full.nodes] == [4, 1]
    per = plan_job(nodes, 2, NodeRequest((), map_by=MapBy("ppr", per=1, over="node")))
    assert [len(n.plan.placements) for n in per.nodes] == [1, 1]


def test_nodes_of_one_kind_are_planned_once_and_alike() -> None:
    topology: Topology = machine(MACHINE)
    nodes = [Node(f"n{i}", topology, topology.complete) for i in range(100)]
    plan = plan_job(nodes, 800, NodeRequest(()))
    assert [p.rank for _, p in plan.placements()] == list(range(800))
    assert all(
        a.cpus is b.cpus
        for a, b in zip(plan.nodes[0].plan.placements, plan.nodes[99].plan.placements, strict=True)
    )
    assert plan.nodes[99].plan.placements[0].cpus == CpuSet.parse("0-3")
