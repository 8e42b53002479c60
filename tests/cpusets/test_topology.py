"""Topology: hwloc's description of a machine, copied into an immutable value."""

from __future__ import annotations

import os
import pickle
import subprocess
import time
from pathlib import Path

import pytest

from cpusets import CpuSet, Topology, TopologyError, _hwloc_build


def test_this_machine_is_described_as_the_kernel_does() -> None:
    topology = Topology.from_system()
    online = Path("/sys/devices/system/cpu/online").read_text(encoding="ascii")
    assert topology.complete == CpuSet.parse(online)
    assert topology.allowed <= topology.complete
    assert CpuSet.of(os.sched_getaffinity(0)) <= topology.complete
    assert topology.numa_nodes[0].memory > 0


def test_another_process_has_its_own_view() -> None:
    assert Topology.from_system(pid=os.getpid()).complete == Topology.from_system().complete


def test_a_synthetic_machine_has_the_levels_it_was_given() -> None:
    topology = Topology.from_synthetic("pack:2 numa:2 l3:2 core:4 pu:2")
    assert len(topology.packages) == 2
    assert len(topology.numa_nodes) == 4
    assert len(topology.l3s) == 8
    assert len(topology.cores) == 32
    assert len(topology.pus) == 64
    assert topology.cores[1].cpus == CpuSet.parse("2-3")
    assert [core.logical_index for core in topology.cores] == list(range(32))


def test_a_machine_of_more_than_1024_cpus_keeps_them_all() -> None:
    topology = Topology.from_synthetic("pack:8 core:64 pu:4")
    assert len(topology.complete) == 2048
    assert topology.packages[7].cpus == CpuSet.parse("1792-2047")


def test_a_machine_without_cores_counts_pus_as_cores() -> None:
    assert len(Topology.from_synthetic("pu:4").cores) == 4


def test_a_topology_is_a_value_that_travels() -> None:
    topology = Topology.from_synthetic("pack:2 core:2 pu:1")
    copy = pickle.loads(pickle.dumps(topology))
    assert copy.objects == topology.objects


FIXTURE = Path(__file__).with_name("fixtures") / "four-gpus.xml"


def edited(tmp_path: Path, *changes: tuple[str, str]) -> Topology:
    """The fixture with some of its text replaced."""
    text = FIXTURE.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "edited.xml"
    path.write_text(text, encoding="utf-8")
    return Topology.from_xml(path)


def test_cpus_that_are_not_allowed_stay_in_the_picture(tmp_path: Path) -> None:
    topology = edited(tmp_path, ('allowed_cpuset="0x0000ffff"', 'allowed_cpuset="0x000000f0"'))
    assert topology.complete == CpuSet.parse("0-15")
    assert topology.allowed == CpuSet.parse("4-7")


def test_the_kinds_of_a_hybrid_chip_are_read_slowest_first(tmp_path: Path) -> None:
    kinds = (
        '<cpukind cpuset="0x000000ff"><info name="CoreType" value="IntelCore"/></cpukind>\n'
        '<cpukind cpuset="0x0000ff00"><info name="CoreType" value="IntelAtom"/></cpukind>\n'
    )
    topology = edited(tmp_path, ("</topology>", kinds + "</topology>"))
    assert [kind.name for kind in topology.cpu_kinds] == ["IntelAtom", "IntelCore"]
    assert topology.cpu_kinds[1].cpus == CpuSet.parse("0-7")


def test_numa_nodes_know_their_memory_and_distances() -> None:
    topology = Topology.from_xml(FIXTURE)
    assert topology.numa_nodes[1].memory == 1 << 30
    assert topology.numa_distances is not None
    numbers, matrix = topology.numa_distances
    assert numbers == (0, 1, 2, 3)
    assert matrix[:4] == (10, 12, 32, 32)


def test_a_numa_node_without_cpus_holds_memory_only(tmp_path: Path) -> None:
    memory = (
        '<object type="NUMANode" os_index="4" cpuset="0x0" complete_cpuset="0x0" '
        'nodeset="0x00000010" complete_nodeset="0x00000010" gp_index="900" '
        'local_memory="2147483648"/>\n    <object type="Package" os_index="0"'
    )
    topology = edited(
        tmp_path,
        ('nodeset="0x0000000f"', 'nodeset="0x0000001f"'),
        ('complete_nodeset="0x0000000f"', 'complete_nodeset="0x0000001f"'),
        ('allowed_nodeset="0x0000000f"', 'allowed_nodeset="0x0000001f"'),
        ('<object type="Package" os_index="0"', memory),
    )
    (bare,) = (node for node in topology.numa_nodes if node.os_index == 4)
    assert bare.memory == 2 << 30
    assert topology.parts("numa", topology.complete)[0] == CpuSet.parse("0-3")


def test_a_node_of_256_pus_loads_within_the_agents_start(tmp_path: Path) -> None:
    path = tmp_path / "big.xml"
    subprocess.run(
        ["lstopo-no-graphics", "-i", "pack:2 numa:4 l3:2 core:8 pu:2", str(path)], check=True
    )
    seconds = []
    for _ in range(5):
        start = time.process_time()
        Topology.from_xml(path)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.060


def test_a_bad_synthetic_string_is_refused_with_an_example() -> None:
    with pytest.raises(TopologyError) as caught:
        Topology.from_synthetic("pack:2 nonsense:3")
    assert "nonsense" in caught.value.message
    assert "core" in caught.value.hint


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="cannot be read"):
        Topology.from_xml(tmp_path / "missing.xml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not well-formed"),
        ("<topology><object></topology>", "not well-formed"),
        ("<html></html>", "no hwloc topology"),
        ('<topology version="3.0"></topology>', "newer hwloc"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "bad.xml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TopologyError) as caught:
        Topology.from_xml(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_the_generated_declarations_are_those_of_the_build_module(tmp_path: Path) -> None:
    fresh = tmp_path / "_hwloc_abi.py"
    _hwloc_build.generate(fresh)
    assert fresh.read_text(encoding="utf-8") == _hwloc_build.TARGET.read_text(encoding="utf-8")


def test_a_thousand_loads_leave_nothing_behind() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])

    for _ in range(100):
        Topology.from_synthetic("pack:2 core:4 pu:2")
    before = resident()
    for _ in range(1000):
        Topology.from_synthetic("pack:2 core:4 pu:2")
    assert resident() - before < 256  # pages of 4 KiB; a leaked topology is about 100 KiB
