"""Coming and going of a cluster, also where an earlier one of its name died half-way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from shim.errors import ShimError
from testbed import boot, slurmconf
from testbed.cleanup import dismantle, holders_of
from testbed.image import ensure_image
from testbed.layer import MOUNT_POINT, ensure_layer
from testbed.paths import cache_directory, clusters_directory, locked_directory
from testbed.progress import Steps
from testbed.state import ClusterSpec, ClusterState, cluster_names, directory_of, load, save
from testbed.suites import suite_named

MAX_NODES = 64
MAX_CPUS = 1024


def require_root() -> None:
    """Refuse anyone but root: namespaces with real users and overlay mounts need it."""
    if os.geteuid() != 0:
        raise ShimError(
            "A private cluster can only be handled by root, because it makes namespaces "
            "with several users.",
            "Run the same command with sudo.",
        )
    for tool, package in (("nsenter", "util-linux"), ("ip", "iproute2")):
        if shutil.which(tool) is None:
            raise ShimError(
                f"The command {tool} is not installed.", f"Run: apt-get install {package}"
            )


def checked_spec(
    name: str,
    nodes: int,
    cpus: int | Literal["auto"],
    suite: str,
    slurm_conf: Sequence[str],
) -> ClusterSpec:
    """Check what the user asked for; ShimError with the first thing that cannot be."""
    # The name becomes a directory and Slurm's ClusterName (at most 40 characters there).
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name):
        raise ShimError(
            f"{name!r} cannot be the name of a cluster.",
            "Use at most 40 lower-case letters, digits, dashes and underscores.",
        )
    if not 1 <= nodes <= MAX_NODES:
        raise ShimError(
            f"A cluster of {nodes} nodes cannot be made.", f"Give 1 to {MAX_NODES} nodes."
        )
    if cpus != "auto" and not 1 <= cpus <= MAX_CPUS:
        raise ShimError(
            f"A node cannot have {cpus} CPUs.", f"Give auto, or a number from 1 to {MAX_CPUS}."
        )
    suite_named(suite)
    for line in slurm_conf:
        slurmconf.key_of(line)
    return ClusterSpec(name, nodes, None if cpus == "auto" else cpus, suite, tuple(slurm_conf))


def is_healthy(state: ClusterState) -> bool:
    """Whether the cluster came up and every part of it still lives."""
    return state.phase == "up" and all(holder.alive for holder in state.holders.values())


def bring_up(spec: ClusterSpec, *, replace_other: bool, steps: Steps) -> ClusterState:
    """Bring the cluster up, or return the one that is up with the same make."""
    require_root()
    suite = suite_named(spec.suite)
    image = ensure_image(suite, steps)
    layer = ensure_layer(image, steps) if suite.full else None
    with locked_directory(directory_of(spec.name)) as directory:
        running = load(spec.name)
        if running is not None and is_healthy(running):
            if running.spec == spec and running.image == str(image):
                return use_layer(running, layer)
            if not replace_other:
                raise ShimError(
                    f"A cluster named {spec.name!r} is up and is not the one asked for.",
                    f"Take it down with shim cluster down --name {spec.name}, or choose "
                    "another --name.",
                )
        dismantle(spec.name, directory)
        _failure_log(spec.name).unlink(missing_ok=True)
        state = ClusterState(spec, str(image), str(layer) if layer else None)
        try:
            return boot.start(state, steps)
        except ShimError as error:
            kept = _keep_logs(spec.name, directory)
            _remove(spec.name, directory)
            raise ShimError(error.message, f"{error.hint} All logs are in {kept}.") from error
        except BaseException:
            _remove(spec.name, directory)
            raise


def take_down(name: str) -> bool:
    """End the cluster ``name``; whether there was anything of it."""
    require_root()
    _failure_log(name).unlink(missing_ok=True)
    there = directory_of(name).exists() or any(True for _ in holders_of(name))
    if there:
        with locked_directory(directory_of(name)) as directory:
            _remove(name, directory)
    return there


def take_down_all() -> list[str]:
    """End every cluster of this machine; their names."""
    return [name for name in cluster_names() if take_down(name)]


def _remove(name: str, directory: Path) -> None:
    dismantle(name, directory)
    directory.rmdir()
    if not any(clusters_directory().iterdir()):
        clusters_directory().rmdir()


def _failure_log(name: str) -> Path:
    return cache_directory() / f"failed-{name}.log"


def _keep_logs(name: str, directory: Path) -> Path:
    """Save the logs of a cluster that did not come up: its directory is about to go."""
    kept = _failure_log(name)
    logs = sorted(directory.glob("nodes/*.boot.log"))
    logs += sorted(directory.glob("nodes/*/upper/var/log/slurm/*.log"))
    with kept.open("w") as sink:
        for log in logs:
            sink.write(f"==> {log.relative_to(directory)}\n{log.read_text(errors='replace')}\n")
    return kept


def use_layer(state: ClusterState, layer: Path | None) -> ClusterState:
    """Put the given build of shim on all nodes of a running cluster, if it is another one."""
    if layer is None or str(layer) == state.layer:
        return state
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("remount.py"))]
    for node in state.spec.members:
        pid = state.holders[node].pid
        result = subprocess.run(
            [*program, str(layer), str(pid), MOUNT_POINT],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise ShimError(
                f"The new build of shim could not be mounted on {node}: {result.stderr.strip()}.",
                f"Start the cluster anew: shim cluster down --name {state.spec.name}, then up.",
            )
    state = replace(state, layer=str(layer))
    save(state)
    return state
