"""Common mistakes are named, with what to do, and nothing is said where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpusets import CpuSet, Topology
from shim.affinity.mistakes import mistakes

MACHINE = Topology.from_synthetic("core:4 pu:2")  # core c holds PUs 2c and 2c+1


@pytest.mark.parametrize(
    ("env", "mask", "said"),
    [
        ({"SLURM_CPUS_PER_TASK": "4"}, "0", "give srun itself -c 4"),
        ({"OMP_NUM_THREADS": "4,2"}, "0-3", "starts 8 threads on 4 CPUs"),
        ({"OPENBLAS_NUM_THREADS": "64"}, "0-7", "OPENBLAS_NUM_THREADS=64"),
        ({"OMP_NUM_THREADS": "1"}, "0-7", "leaves 3 of the rank's 4 cores idle"),
        (
            {"PRTE_LAUNCHED": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"},
            "0-7",
            "srun started mpirun 4 times",
        ),
        ({"KMP_AFFINITY": "compact", "OMP_PLACES": "cores"}, "0-7", "both bind threads"),
        ({"CUDA_VISIBLE_DEVICES": "2,3", "SLURM_STEP_GPUS": "2,3"}, "0-7", "numbered from 0"),
    ],
)
def test_a_mistake_is_named(env: dict[str, str], mask: str, said: str) -> None:
    (sentence,) = mistakes(env, CpuSet.parse(mask), MACHINE)
    assert said in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"SLURM_CPUS_PER_TASK": "8", "OMP_NUM_THREADS": "4"},
        {"PRTE_LAUNCHED": "1", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"},
        {"OMP_PLACES": "cores", "OMP_PROC_BIND": "close"},
        {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_GPUS": "2,3"},
        {"CUDA_VISIBLE_DEVICES": "GPU-1", "SLURM_STEP_GPUS": "2"},
    ],
)
def test_nothing_is_said_where_nothing_is_wrong(env: dict[str, str]) -> None:
    assert mistakes(env, MACHINE.complete, MACHINE) == ()


def test_half_a_core_in_another_job_is_named() -> None:
    narrowed = replace(MACHINE, allowed=CpuSet.parse("0-2"))
    (sentence,) = mistakes({}, CpuSet.parse("0-2"), narrowed)
    assert "1 of the rank's cores are shared" in sentence
