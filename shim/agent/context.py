"""Who launched us: the launcher's environment read once, as a value (pure).

Slurm's variables are those of srun(1), "OUTPUT ENVIRONMENT VARIABLES"; PRRTE's and Slurm's
PMIx servers both give PMIX_NAMESPACE and PMIX_RANK.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from cpusets import CpuSet


class Launcher(Enum):
    """Who started this step."""

    SLURM = "slurm"
    PMIX = "pmix"
    """PRRTE (prterun, Open MPI's mpirun) or another PMIx launcher."""
    NONE = "none"


@dataclass(frozen=True)
class LaunchContext:
    """One step on one node, as its launcher describes it."""

    launcher: Launcher
    job_id: str
    """`123.0` under Slurm, the upstream namespace under PRRTE, `local` with no launcher."""
    node: str
    """The node's name in the launcher's words (SLURMD_NODENAME), else the host name."""
    has_pmix: bool
    """Whether a PMIx server offered itself in the environment."""
    local_ranks: tuple[int, ...]
    """Ranks of the step on this node, ascending; empty when only PMIx can tell."""
    masks: Mapping[int, CpuSet] | None
    """The CPUs that the launcher says it bound each local rank to; None where it does not say."""
    unbound: bool
    """True where the launcher says that it bound nothing."""


def read_context(env: Mapping[str, str]) -> LaunchContext:
    """Read the launcher's variables; nothing is asked of the system but the host name."""
    has_pmix = "PMIX_NAMESPACE" in env and "PMIX_RANK" in env
    # A prterun inside a step leaves the step's SLURM_* variables; its PMIx is the nearer one.
    nearest = env.get("PMIX_NAMESPACE", "slurm.pmix.").startswith("slurm.pmix.")
    if "SLURM_STEP_ID" in env and "SLURM_PROCID" in env and nearest:
        return _slurm_context(env, has_pmix)
    return LaunchContext(
        launcher=Launcher.PMIX if has_pmix else Launcher.NONE,
        job_id=env.get("PMIX_NAMESPACE", "local"),
        node=socket.gethostname(),
        has_pmix=has_pmix,
        local_ranks=() if has_pmix else (0,),
        masks=None,
        unbound=not has_pmix,
    )


def _slurm_context(env: Mapping[str, str], has_pmix: bool) -> LaunchContext:
    ranks = tuple(
        sorted(int(word) for word in (env.get("SLURM_GTIDS") or env["SLURM_PROCID"]).split(","))
    )
    binding = env.get("SLURM_CPU_BIND_TYPE", "")
    return LaunchContext(
        launcher=Launcher.SLURM,
        job_id=f"{env.get('SLURM_JOB_ID', '0')}.{env['SLURM_STEP_ID']}",
        node=env.get("SLURMD_NODENAME") or socket.gethostname(),
        has_pmix=has_pmix,
        local_ranks=ranks,
        masks=_slurm_masks(env, ranks) if "mask_cpu" in binding else None,
        unbound=binding in ("", "none"),
    )


def _slurm_masks(env: Mapping[str, str], ranks: tuple[int, ...]) -> dict[int, CpuSet] | None:
    """Each local rank's mask: task i of the node gets mask i, modulo the length of the list.

    slurmd resolves cores, sockets and the automatic binding to masks before it writes this list
    (task/affinity, lllp_distribution), so a list is what nearly every bound task has.
    """
    words = [word for word in env.get("SLURM_CPU_BIND_LIST", "").split(",") if word]
    if not words:
        return None
    masks = [CpuSet.of(_bits(int(word, 16))) for word in words]
    return {rank: masks[at % len(masks)] for at, rank in enumerate(ranks)}


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
