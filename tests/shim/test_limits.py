"""Who took CPUs from a rank is told truly."""

from __future__ import annotations

import os

from cpusets import CpuSet, get_affinity, judge
from cpusets.cgroups import own_group
from shim.agent.limits import limits_of
from tests.cpusets.processes import waiting


def test_a_rank_in_a_smaller_control_group_was_narrowed_by_it() -> None:
    here = get_affinity()
    first = CpuSet.of([here.first()])
    parent = own_group()
    assert parent, "tests run as root, with control groups"
    group = parent.child(f"shim-test-limits{os.getpid()}", first)
    try:
        with waiting() as process:
            group.attach(process.pid)
            limits = limits_of(process.pid, here, here)
            verdict = judge(here, get_affinity(process.pid), limits=limits)
            assert verdict.narrowed_by == "the control group"
    finally:
        group.remove()


def test_one_that_was_not_bound_has_the_mask_it_was_born_with() -> None:
    here = get_affinity()
    first = CpuSet.of([here.first()])
    launcher = limits_of(os.getpid(), first, first)
    assert judge(here, first, limits=launcher).narrowed_by == "the launcher's mask"
    parent = limits_of(os.getpid(), here, first)
    assert judge(here, first, limits=parent).narrowed_by == "its parent process"
