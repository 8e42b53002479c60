"""Common mistakes with CPUs, threads and GPUs, named from a rank's environment and mask (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cpusets import CpuSet, Topology
from cpusets.openmp import planned_threads

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip


def mistakes(env: Mapping[str, str], mask: CpuSet, topology: Topology) -> tuple[str, ...]:
    """Sentences about one rank, the weightiest first; empty where nothing looks wrong."""
    return (
        *_lost_cpus_per_task(env, mask),
        *_too_many_threads(env, mask),
        *_idle_cpus(env, mask, topology),
        *_nested_launcher(env),
        *_binding_twice(env),
        *_devices(env),
        *_cores_shared_with_others(mask, topology),
    )


def _lost_cpus_per_task(env: Mapping[str, str], mask: CpuSet) -> Sequence[str]:
    """Since Slurm 22.05 srun does not take -c from the batch header (srun(1), --cpus-per-task)."""
    wanted = env.get("SLURM_CPUS_PER_TASK", "")
    if wanted.isdigit() and int(wanted) > len(mask):
        return [
            f"The job asked for {wanted} CPUs per task but this rank has {len(mask)}: give srun "
            f"itself -c {wanted} (or export SRUN_CPUS_PER_TASK={wanted})."
        ]
    return []


def _too_many_threads(env: Mapping[str, str], mask: CpuSet) -> Sequence[str]:
    return [
        f"{name}={env[name]} starts {count} threads on {len(mask)} CPUs: give the rank more CPUs "
        "or use fewer threads."
        for name in _THREAD_VARIABLES
        if (count := planned_threads(env.get(name, ""))) > len(mask)
    ]


def _idle_cpus(env: Mapping[str, str], mask: CpuSet, topology: Topology) -> Sequence[str]:
    """Container hooks and login profiles set OMP_NUM_THREADS=1 without being asked."""
    cores = len(topology.parts("core", mask))
    if env.get("OMP_NUM_THREADS") == "1" and cores > 1:
        return [
            f"OMP_NUM_THREADS=1 leaves {cores - 1} of the rank's {cores} cores idle in OpenMP "
            "regions: unset it, if you did not mean that."
        ]
    return []


def _nested_launcher(env: Mapping[str, str]) -> Sequence[str]:
    """`srun -n N mpirun …`: N launchers, each of which starts all ranks and binds them again.

    One task per node is how mpirun itself starts its daemons through srun.
    """
    inner = "PRTE_LAUNCHED" in env or "HYDI_CONTROL_FD" in env
    tasks = re.match(r"\d+", env.get("SLURM_STEP_TASKS_PER_NODE", ""))
    if inner and tasks and int(tasks[0]) > 1:
        return [
            f"srun started mpirun {tasks[0]} times on this node, and each start launches ranks: "
            "use one of the two launchers."
        ]
    return []


def _binding_twice(env: Mapping[str, str]) -> Sequence[str]:
    found = []
    own = [name for name in ("GOMP_CPU_AFFINITY", "KMP_AFFINITY") if env.get(name)]
    standard = [name for name in ("OMP_PLACES", "OMP_PROC_BIND") if env.get(name)]
    if own and standard:
        found.append(
            f"{own[0]} and {standard[0]} both bind threads, and which one wins depends on the "
            "runtime: keep one."
        )
    return found


def _devices(env: Mapping[str, str]) -> Sequence[str]:
    step = env.get("SLURM_STEP_GPUS") or env.get("SLURM_JOB_GPUS") or ""
    visible = env.get("CUDA_VISIBLE_DEVICES", "")
    numbers = [word for word in visible.split(",") if word.isdigit()]
    allotted = len([word for word in step.split(",") if word])
    if step and numbers and max(map(int, numbers)) >= allotted:
        return [
            f"CUDA_VISIBLE_DEVICES={visible} counts the node's GPUs, but the job's {allotted} are "
            "numbered from 0 in its control group: use 0 upwards, or UUIDs."
        ]
    return []


def _cores_shared_with_others(mask: CpuSet, topology: Topology) -> Sequence[str]:
    """A sibling hardware thread that belongs to another job (or is offline for us)."""
    foreign = [
        core.cpus - topology.allowed
        for core in topology.cores
        if core.cpus & mask and not core.cpus <= topology.allowed
    ]
    if foreign:
        return [
            f"{len(foreign)} of the rank's cores are shared with CPUs outside the job: ask Slurm "
            "for whole cores (--threads-per-core, --exclusive)."
        ]
    return []
