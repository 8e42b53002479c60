"""A real OpenMP runtime (gcc's libgomp) sits its threads where the plan says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cpusets import (
    CpuSet,
    NodeRequest,
    RankPlacement,
    Topology,
    get_affinity,
    openmp_environment,
    plan_node,
)
from tests.cpusets.openmp_program import compiled


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("openmp"))


def seen(program: Path, placement: RankPlacement) -> dict[int, CpuSet]:
    """Each thread's mask, as the thread asked the kernel."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run(
        [program],
        env=base | openmp_environment(placement, base),
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, placement.cpus),
    )
    assert "reduced" not in done.stderr, "libgomp takes all places"
    rows = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    return {row[0]: CpuSet.of(row[1:]) for row in rows}


def planned(threads: int | None) -> RankPlacement:
    request = NodeRequest((0,), threads=threads)
    return plan_node(Topology.from_system(), get_affinity(), request).placements[0]


def test_each_thread_is_on_its_place(program: Path) -> None:
    placement = planned(None)
    assert seen(program, placement) == dict(enumerate(placement.places))


def test_one_thread_may_use_the_whole_share(program: Path) -> None:
    placement = planned(1)
    assert seen(program, placement) == {0: placement.cpus}


def test_more_threads_than_cpus_double_up_evenly(program: Path) -> None:
    cpus = len(get_affinity())
    masks = seen(program, planned(2 * cpus))
    assert len(masks) == 2 * cpus
    assert sorted(masks.values(), key=lambda mask: mask.bits) == [
        CpuSet.of([cpu]) for cpu in get_affinity() for _ in range(2)
    ]
