"""What the launcher's environment says, read from environments that real launchers gave."""

from __future__ import annotations

from cpusets import CpuSet
from shim.agent.context import Launcher, read_context

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "2",
    "SLURM_GTIDS": "2,3",
    "SLURMD_NODENAME": "n2",
    "PMIX_NAMESPACE": "slurm.pmix.7.0",
    "PMIX_RANK": "2",
}


def test_a_slurm_step_that_bound_its_tasks() -> None:
    context = read_context(
        {**SLURM, "SLURM_CPU_BIND_TYPE": "mask_cpu:", "SLURM_CPU_BIND_LIST": "0x1,0x2"}
    )
    assert context.launcher is Launcher.SLURM
    assert context.job_id == "7.0"
    assert context.node == "n2"
    assert context.local_ranks == (2, 3)
    assert context.masks == {2: CpuSet.parse("0"), 3: CpuSet.parse("1")}
    assert not context.unbound


def test_a_short_mask_list_is_used_again_from_its_start() -> None:
    env = {**SLURM, "SLURM_GTIDS": "4,5,6", "SLURM_CPU_BIND_TYPE": "mask_cpu:"}
    context = read_context({**env, "SLURM_CPU_BIND_LIST": "0x3,0xc"})
    assert context.masks == {
        4: CpuSet.parse("0-1"),
        5: CpuSet.parse("2-3"),
        6: CpuSet.parse("0-1"),
    }


def test_cpu_bind_none_means_unbound() -> None:
    context = read_context({**SLURM, "SLURM_CPU_BIND_TYPE": "none"})
    assert context.masks is None
    assert context.unbound


def test_without_a_pmix_server_it_says_so() -> None:
    assert not read_context({k: v for k, v in SLURM.items() if "PMIX" not in k}).has_pmix


def test_prterun_says_nothing_of_local_ranks_or_binding() -> None:
    context = read_context({"PMIX_NAMESPACE": "prterun-a-1@1", "PMIX_RANK": "0"})
    assert context.launcher is Launcher.PMIX
    assert context.local_ranks == ()
    assert context.masks is None
    assert not context.unbound


def test_no_launcher_is_one_unbound_rank() -> None:
    context = read_context({"HOME": "/root"})
    assert context.launcher is Launcher.NONE
    assert context.local_ranks == (0,)
    assert context.unbound
