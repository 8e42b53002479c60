"""Starting the container before the agent has loaded asyncio, hwloc and PMIx.

Loading them takes as long as the runtime takes to start a container, so both are done at once. A
head start decides nothing: where anything is in its way it does not happen, and the ordinary
start (start.py) meets the same obstacle and tells it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from shim.container.image import check_image
from shim.container.runtime import check_user_namespaces, find_runtime
from shim.container.spawn import Spawned, spawn
from shim.errors import ShimError
from shim.options import ExecOptions


def head_start(
    options: ExecOptions, env: Mapping[str, str], cwd: str, run_dir: Path
) -> Spawned | None:
    """The runtime, already starting the container; None where that needs a second look."""
    try:
        runtime = find_runtime(options.runtime, env)
        check_image(options.image)
        check_user_namespaces(runtime)
        if runtime.why_no_join(options, os.geteuid()) is not None:
            return None
        return spawn(runtime.path, options, env, cwd, run_dir)
    except (ShimError, OSError):
        return None


def widen_affinity(env: Mapping[str, str]) -> None:
    """Let the container's file system server run on the CPUs of all ranks of the node.

    It inherits the mask of the one rank that started the agent. Slurm lists the masks of all
    (srun(1), SLURM_CPU_BIND_LIST); where it does not, or the kernel refuses, the mask stays, which
    costs speed and nothing else.
    """
    if "mask_cpu" not in env.get("SLURM_CPU_BIND_TYPE", ""):
        return
    try:
        masks = [int(word, 16) for word in env.get("SLURM_CPU_BIND_LIST", "").split(",") if word]
        cpus = {bit for mask in masks for bit in range(mask.bit_length()) if mask >> bit & 1}
        if cpus:
            os.sched_setaffinity(0, cpus)
    except (ValueError, OSError):
        return
