"""The firm rung of the binding ladder: real cpuset groups of this machine's kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpusets import BindingError, CpuSet, get_affinity, set_affinity
from cpusets.cgroups import CpusetGroup, own_group
from cpusets.moving import apply_steps
from cpusets.partitions import Step
from tests.cpusets.processes import waiting


@pytest.fixture
def group() -> Iterator[CpusetGroup]:
    """A group of our own below this process's, with all of its CPUs."""
    own = own_group()
    assert own is not None, "tests run where the cpuset controller is mounted"
    assert own.delegated(), "tests run as root"
    child = own.child(f"cpusets-test-{os.getpid()}", own.effective())
    yield child
    child.remove()


def test_our_own_group_is_found_and_agrees_with_the_kernel() -> None:
    own = own_group()
    assert own is not None
    assert get_affinity() <= own.effective()
    assert own.memory_nodes()


def test_a_group_holds_what_an_affinity_mask_does_not(group: CpusetGroup) -> None:
    one = CpuSet.of([group.effective().first()])
    both = group.effective()
    with waiting() as process:
        group.resize(one)
        group.attach(process.pid)
        assert process.pid in group.processes()
        assert get_affinity(process.pid) == one
        widened = set_affinity(both, process.pid)
        assert widened.effective == one
        assert widened.narrowed == (both != one)
    process.wait()


def test_a_partition_with_a_group_is_moved_by_it(group: CpusetGroup) -> None:
    last = CpuSet.of([group.effective().last()])
    with waiting() as process:
        group.attach(process.pid)
        (moved,) = apply_steps((Step("a", last),), {"a": [process.pid]}, {"a": group})
        assert moved.by == "cgroup"
        assert moved.bound[process.pid].effective == last
    process.wait()


def test_cpus_that_do_not_exist_are_refused(group: CpusetGroup) -> None:
    with pytest.raises(BindingError, match=r"does not take|but has"):
        group.resize(CpuSet.of([4000]))


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A proc file system as a container might see it, with process 7."""
    for name in ("self", "7"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup").write_text(
            "3:memory:/job\n0::/slurm/job_7/step_0\n", encoding="utf-8"
        )
    (tmp_path / "self" / "mountinfo").write_text("", encoding="utf-8")
    return tmp_path


def test_a_container_that_sees_no_cgroups_has_no_group(proc: Path, tmp_path: Path) -> None:
    assert own_group(proc=proc) is None
    assert own_group(proc=tmp_path / "missing") is None


def test_a_group_below_a_partial_mount_is_found_where_it_is_seen(proc: Path) -> None:
    seen = proc / "seen" / "step_0"
    seen.mkdir(parents=True)
    (seen / "cpuset.cpus.effective").write_text("2-3\n", encoding="ascii")
    (proc / "self" / "mountinfo").write_text(
        f"41 31 0:38 /slurm/job_7 {proc / 'seen'} rw - cgroup2 cgroup2 rw\n", encoding="utf-8"
    )
    group = own_group(7, proc)
    assert group == CpusetGroup(seen, 2)
    assert group.effective() == CpuSet.parse("2-3")
