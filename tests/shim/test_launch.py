"""Golden text of what `shim run` becomes."""

from __future__ import annotations

import pytest

from shim.errors import ShimError
from shim.run.launch import plan_launch
from shim.run.spec import SPEC_VARIABLE, parse_run

SPEC = parse_run("-n 4 app.sif ./app".split())

IN_A_BATCH_SCRIPT = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_CPUS_PER_TASK": "1",
    "HOME": "/home/demo",
}


def test_in_an_allocation_srun_starts_one_agent_per_node() -> None:
    launch = plan_launch(SPEC, IN_A_BATCH_SCRIPT, "/usr/bin/shim")
    assert " ".join(launch.argv) == (
        "srun --mpi=pmix --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpu-bind=none --overlap "
        "--input=0 /usr/bin/shim _agent"
    )
    assert sorted(launch.env) == ["HOME", SPEC_VARIABLE, "SLURM_JOB_ID", "SLURM_JOB_NODELIST"]


def test_under_prterun_this_process_is_the_agent() -> None:
    launch = plan_launch(SPEC, {"PMIX_NAMESPACE": "prte@1", "PMIX_RANK": "0"}, "shim")
    assert launch.argv == ("shim", "_agent")


def test_on_a_laptop_this_process_is_the_agent() -> None:
    assert plan_launch(SPEC, {"HOME": "/home/me"}, "shim").argv == ("shim", "_agent")


def test_srun_without_pmix_is_refused() -> None:
    step = {**IN_A_BATCH_SCRIPT, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}
    with pytest.raises(ShimError, match="without PMIx"):
        plan_launch(SPEC, step, "shim")
