"""Where the agents of `shim run` are started: through srun, as this process, or refused (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shim.errors import ShimError
from shim.hostlist import expand
from shim.run.spec import SPEC_VARIABLE, RunSpec


@dataclass(frozen=True)
class Launch:
    """A process image to become: arguments and environment for execve(2)."""

    argv: tuple[str, ...]
    env: dict[str, str]


def plan_launch(spec: RunSpec, env: Mapping[str, str], program: str) -> Launch:
    """Decide how the agents start; *program* is the path of the `shim` command.

    Inside a PMIx launch (`prterun --map-by ppr:1:node shim run …`, or our own srun) this process
    becomes the agent of its node. In a Slurm allocation srun starts one agent per node.
    Otherwise this machine is the only node.
    """
    carried = {**env, SPEC_VARIABLE: spec.to_json()}
    agent = (program, "_agent")
    if "PMIX_NAMESPACE" in env:
        return Launch(agent, carried)
    if "SLURM_STEP_ID" in env and "SLURM_JOB_ID" in env and env.get("SLURM_STEP_NUM_TASKS") != "1":
        raise ShimError(
            "`shim run` was started by srun without PMIx.",
            "Call `shim run` directly in the job script, or use `srun --mpi=pmix -n N shim exec`.",
        )
    if "SLURM_JOB_ID" in env:
        return Launch((*srun_argv(env), *agent), without_task_variables(carried))
    return Launch(agent, carried)


def srun_argv(env: Mapping[str, str]) -> tuple[str, ...]:
    """One task per node with all its CPUs and no binding: the shim divides them.

    `--overlap` lets the step use CPUs that a surrounding interactive step holds (salloc with
    LaunchParameters=use_interactive_step); `--input=0` gives stdin to rank 0's node alone.
    """
    nodes = len(expand(env.get("SLURM_JOB_NODELIST", "")) or ("",))
    return (
        "srun",
        "--mpi=pmix",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        "--cpu-bind=none",
        "--overlap",
        "--input=0",
    )


_PER_TASK = frozenset(
    {
        "SLURM_NTASKS",
        "SLURM_NPROCS",
        "SLURM_NTASKS_PER_NODE",
        "SLURM_CPUS_PER_TASK",
        "SLURM_TASKS_PER_NODE",
        "SLURM_TRES_PER_TASK",
        "SLURM_DISTRIBUTION",
        "SLURM_CPU_BIND",
        "SLURM_CPU_BIND_TYPE",
        "SLURM_CPU_BIND_LIST",
        "SLURM_CPU_BIND_VERBOSE",
        "SLURM_MPI_TYPE",
    }
)


def without_task_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Drop what would make srun start something else than one task per node.

    srun reads the batch header's numbers from its environment (srun(1), INPUT ENVIRONMENT
    VARIABLES); they describe the ranks, which are ours to place, not the agents.
    """
    return {name: value for name, value in env.items() if name not in _PER_TASK}
