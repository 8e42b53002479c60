"""This node's part of the job, once everything that ranks need is up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cpusets import (
    RankPlacement,
    device_conflicts,
    device_environment,
    openmp_environment,
)
from cpusets.mempolicy import DEFAULT_POLICY
from pmix_server import JobSpec, PmixError, Server
from pmix_server.collectives import Collectives
from pmix_server.processes import LocalProcess
from pmix_server.services import job_services
from shim.agent import shared_memory
from shim.agent.context import LaunchContext, Launcher
from shim.agent.host import AgentHost
from shim.agent.links import Links
from shim.agent.placement import Placement
from shim.agent.uplink import presentable
from shim.container import Additions, Container
from shim.hostlist import expand
from shim.layout import Layout
from shim.ticket import MemoryPolicy

if TYPE_CHECKING:
    from shim.agent.shares import Shares


@dataclass(frozen=True)
class Node:
    """What a rank's ticket is made from. *server* is None where the user wants no PMIx."""

    layout: Layout
    placement: Placement
    server: Server | None
    shared_memory: Path | None = None
    """The step's directory in /dev/shm."""
    shares: Shares | None = None
    """The declared partitions."""

    def additions(
        self, plan: RankPlacement, env: Mapping[str, str], *, bind: bool, memory: Path | None
    ) -> Additions:
        """What a rank gets beyond the container's own: PMIx, OpenMP, GPUs, CPUs, memory.

        Args:
            plan: where the rank, or this process of it, sits.
            env: the rank's environment on the host.
            bind: False leaves its CPUs as launched.
            memory: `shared_memory`, if the rank can see it.
        """
        launchers = devices_of_step(env)
        added = openmp_environment(plan, env)
        added |= device_environment(plan, env, self.placement.topology, from_launcher=launchers)
        if self.server:
            added |= self.server.rank_environment(plan.rank, base=env)
            added |= shared_memory.settings(memory, env)
        return Additions(
            env=added,
            drop=("PMIX_", "PMI_") if self.server else (),
            cpus=plan.cpus.to_bytes() if bind else None,
            memory_policy=memory_policy(plan),
            notes=device_conflicts(plan, env, from_launcher=launchers),
        )


def devices_of_step(env: Mapping[str, str]) -> tuple[str, ...]:
    """Variables that Slurm set to show the task all devices of its step (gres.conf(5)); a rank's
    own devices are chosen among these, while what a user set is the user's choice."""
    if "SLURM_STEP_GPUS" in env or "SLURM_JOB_GPUS" in env:
        return ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
    return ()


def memory_policy(plan: RankPlacement) -> MemoryPolicy | None:
    """The policy for the rank's ticket; None leaves what it has."""
    if plan.memory == DEFAULT_POLICY:
        return None
    return MemoryPolicy(int(plan.memory.mode), plan.memory.nodes.to_bytes())


def job_spec(
    links: Links,
    layout: Layout,
    placement: Placement,
    context: LaunchContext,
    env: Mapping[str, str],
    ids: tuple[int, int],
) -> JobSpec:
    """The job data for the ranks (pure); *ids* are user and group as the container sees them."""
    return JobSpec(
        nspace=links.nspace,
        job_id=context.job_id,
        nodes=layout.nodes,
        local=layout.local,
        appnums=dict(enumerate(layout.app_of)),
        cpusets=placement.cpusets(),
        uid=ids[0],
        gid=ids[1],
        univ_size=max(links.job.univ_size, layout.size),
        alloc_id=env.get("SLURM_JOB_ID"),
        allocated_nodes=expand(env.get("SLURM_JOB_NODELIST", "")),
        time_remaining=seconds_left(env, time.time()),
        rm_name="slurm" if context.launcher is Launcher.SLURM else None,
    )


def seconds_left(env: Mapping[str, str], now: float) -> int | None:
    """Until the job's time limit, where Slurm tells it (SLURM_JOB_END_TIME, from 23.02 on)."""
    end = env.get("SLURM_JOB_END_TIME", "")
    return max(0, int(end) - int(now)) if end.isdecimal() else None


def container_ids(fakeroot: bool) -> tuple[int, int]:
    """User and group of the ranks as they see themselves.

    The runtime maps a user to itself unless --fakeroot makes it root. libpmix's psec/native
    compares these with what the client claims, so they must be those inside.
    """
    return (0, 0) if fakeroot else (os.getuid(), os.getgid())


def with_program(process: LocalProcess) -> LocalProcess:
    """The same with what it executes, where it still does: as the kernel shows it, which is the
    path in the container (the process is in its mount namespace)."""
    try:
        return replace(process, executable=os.readlink(f"/proc/{process.pid}/exe"))
    except OSError:
        return process


async def start_server(
    host_for: Callable[[Collectives], AgentHost],
    links: Links,
    spec: JobSpec,
    directory: Path,
    processes: Callable[[], Iterable[LocalProcess]],
) -> Server:
    """Bring up this node's PMIx server. Ranks can connect once the job is registered.

    Args:
        processes: this node's ranks; all are of the one job.

    Raises:
        ShimError: libpmix is not usable here.
    """

    def here(nspace: str) -> Sequence[LocalProcess]:
        return tuple(map(with_program, processes())) if nspace == spec.nspace else ()

    server = Server()
    collectives = Collectives(links.mesh, server.local_modex)
    collectives.register(spec)
    try:
        await server.start(
            host_for(collectives),
            tmpdir=directory,
            node=spec.here.name,
            upstream=links.upstream,
            services=job_services(links.mesh, collectives, server, here),
        )
    except PmixError as error:
        raise presentable(error) from error
    return server


async def register_job(
    server: Server, spec: JobSpec, run_dir: Path, containers: Sequence[Container]
) -> None:
    """Let the job's ranks connect; their session files go into *run_dir* if all can see it.

    Raises:
        ShimError: libpmix refuses the job's data.
    """
    directory = run_dir / "ranks"
    directory.mkdir(mode=0o700, exist_ok=True)
    seen = all(shared_memory.is_visible(directory, container) for container in containers)
    try:
        await server.register(replace(spec, tmpdir=str(directory)) if seen else spec)
    except PmixError as error:
        raise presentable(error) from error
