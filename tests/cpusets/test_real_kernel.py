"""On a real kernel with 2 sockets × 4 cores × 2 threads and 2 NUMA nodes, in an emulated machine.

CPU c of socket s and core k is the hardware thread c mod 2 of core c // 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cpusets.openmp_program import compiled
from tests.cpusets.vm import initramfs, machine

BOOT_LIMIT_S = 240


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the guest told, check by check."""
    directory: Path = tmp_path_factory.mktemp("vm")
    program = compiled(directory, static=True)
    archive = directory / "initramfs"
    initramfs.build(archive, "tests.cpusets.vm.guest", [program])
    return machine.boot(machine.kernel(), archive, BOOT_LIMIT_S)


def test_the_machine_is_read_as_it_is(told: dict[str, Any]) -> None:
    assert told["topology"] == {
        "packages": ["0-7", "8-15"],
        "numa": ["0-7", "8-15"],
        "cores": 8,
        "complete": "0-15",
    }


def test_ranks_and_threads_sit_where_they_were_planned(told: dict[str, Any]) -> None:
    ranks = told["ranks_and_their_openmp_threads"]
    assert [rank["planned"] for rank in ranks] == ["0-3", "4-7", "8-11", "12-15"]
    assert ranks[0]["places"] == ["0-1", "2-3"]
    for rank in ranks:
        assert rank["threads"] == rank["places"]


def test_partitions_never_overlap_while_one_grows(told: dict[str, Any]) -> None:
    assert told["partitions_while_processes_run"] == [
        {"mpi": "0-11", "analysis": "12-15"},
        {"mpi": "0-7", "analysis": "12-15"},
        {"mpi": "0-7", "analysis": "8-15"},
    ]


def test_memory_is_bound_and_pages_move(told: dict[str, Any]) -> None:
    found = told["memory_policies"]
    assert "bind:1" in found["policies"]
    assert found["before"][1] >= 2048, "8 MiB were filled on node 1"
    assert found["after"][0] >= 2048
    assert found["after"][1] < 256


def test_a_job_whose_cpuset_shrinks_is_narrowed_by_the_control_group(told: dict[str, Any]) -> None:
    found = told["a_cpuset_that_shrinks_under_a_job"]
    assert found["version"] == 2
    assert found["before"] == "0-5"
    assert found["after"] == "0-3"
    assert found["verdict"] == "narrowed by the control group (lost 4-5)"
    assert found["widened"] == "0-3", "a mask cannot leave the cpuset"


def test_an_ordinary_user_carves_groups_where_they_were_delegated(told: dict[str, Any]) -> None:
    assert told["delegation"] == {
        "delegated": True,
        "root": False,
        "by": "cgroup",
        "effective": "10-11",
        "processes": "10-11",
    }


def test_a_cpu_that_goes_offline_is_left_out_and_named(told: dict[str, Any]) -> None:
    found = told["a_cpu_that_goes_offline"]
    assert found["complete"] == "0-4,6-15"
    assert found["plan"] == ["0-3", "4,6-7", "8-11", "12-15"]
    assert found["bound"] == "4"
    assert found["verdict"] == "narrowed by an offline CPU (lost 5)"
