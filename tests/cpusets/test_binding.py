"""Binding asks the kernel and believes only what it reads back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from cpusets import BindingError, CpuSet, get_affinity, set_affinity, set_process_affinity
from cpusets.binding import threads_of
from tests.cpusets.processes import THREADS, waiting


@pytest.fixture
def threaded() -> Iterator[subprocess.Popen[bytes]]:
    with waiting() as process:
        yield process


def test_the_effective_mask_is_read_back(threaded: subprocess.Popen[bytes]) -> None:
    one = CpuSet.of([get_affinity().first()])
    bound = set_affinity(one, threaded.pid)
    assert bound.effective == one
    assert not bound.narrowed
    assert set(one) == os.sched_getaffinity(threaded.pid)


def test_a_mask_that_the_kernel_narrows_is_told(threaded: subprocess.Popen[bytes]) -> None:
    one = CpuSet.of([get_affinity().first()])
    bound = set_affinity(one | CpuSet.of([4000]), threaded.pid)
    assert bound.narrowed
    assert bound.effective == one


def test_all_threads_of_a_process_are_bound(threaded: subprocess.Popen[bytes]) -> None:
    one = CpuSet.of([get_affinity().last()])
    set_process_affinity(threaded.pid, one)
    tids = list(threads_of(threaded.pid))
    assert len(tids) == THREADS
    assert {get_affinity(tid) for tid in tids} == {one}


def test_impossible_bindings_are_refused_with_the_kernels_reason() -> None:
    with pytest.raises(BindingError, match="no CPU at all"):
        set_affinity(CpuSet())
    with pytest.raises(BindingError, match="Invalid argument"):
        set_affinity(CpuSet.of([4000]))
    with pytest.raises(BindingError, match="No such process"):
        get_affinity(2**22 - 1)
