"""The variables by which a program knows its place, as srun would set them (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from shim.layout import Layout


def task_environment(layout: Layout, rank: int, env: Mapping[str, str]) -> dict[str, str]:
    """Variables of srun(1) that differ between the agent, which is the Slurm task, and its ranks.

    Outside Slurm nothing is added: a program must not take us for Slurm.
    """
    if "SLURM_JOB_ID" not in env:
        return {}
    ranks = layout.here.ranks
    counts = ",".join(str(len(node.ranks)) for node in layout.nodes)
    return {
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(ranks.index(rank)),
        "SLURM_NODEID": str(layout.local),
        "SLURM_GTIDS": ",".join(map(str, ranks)),
        "SLURM_NTASKS": str(layout.size),
        "SLURM_NPROCS": str(layout.size),
        "SLURM_STEP_NUM_TASKS": str(layout.size),
        "SLURM_TASKS_PER_NODE": counts,
        "SLURM_STEP_TASKS_PER_NODE": counts,
    }
