"""OpenMP follows the placement; what the user set is never replaced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpusets import CpuSet, RankPlacement, format_places, openmp_conflicts, openmp_environment

PLACEMENT = RankPlacement(
    rank=3,
    cpus=CpuSet.parse("0-3,8-11"),
    threads=4,
    places=tuple(CpuSet.parse(text) for text in ("0,8", "1,9", "2,10", "3,11")),
)


def test_an_empty_environment_gets_all_three_variables() -> None:
    assert openmp_environment(PLACEMENT, {}) == {
        "OMP_NUM_THREADS": "4",
        "OMP_PLACES": "{0,8},{1,9},{2,10},{3,11}",
        "OMP_PROC_BIND": "close",
    }


def test_runs_of_cpus_are_intervals_of_first_and_length() -> None:
    assert format_places((CpuSet.parse("0-3,64-67"), CpuSet.parse("5"))) == "{0:4,64:4},{5}"


def test_the_users_thread_count_stays() -> None:
    assert "OMP_NUM_THREADS" not in openmp_environment(PLACEMENT, {"OMP_NUM_THREADS": "2"})


@pytest.mark.parametrize(
    "variable", ["OMP_PLACES", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"]
)
def test_a_user_who_binds_threads_is_left_alone(variable: str) -> None:
    assert openmp_environment(PLACEMENT, {variable: "x"}) == {"OMP_NUM_THREADS": "4"}


def test_threads_of_an_unbound_rank_are_not_bound() -> None:
    unbound = replace(PLACEMENT, places=())
    assert openmp_environment(unbound, {}) == {"OMP_NUM_THREADS": "4"}


def test_too_many_threads_are_named() -> None:
    (sentence,) = openmp_conflicts(PLACEMENT, {"OMP_NUM_THREADS": "4,3"})
    assert "12 threads" in sentence
    assert "rank 3 has 8 CPUs" in sentence
    assert openmp_conflicts(PLACEMENT, {"OMP_NUM_THREADS": "8"}) == ()
    assert openmp_conflicts(PLACEMENT, {"OMP_NUM_THREADS": "many"}) == ()
