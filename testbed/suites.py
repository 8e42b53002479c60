"""What a node image contains, per Debian suite.

The suite decides the Slurm version: bookworm 22.05.8, trixie 24.11.5, sid 26.05.5 (all Debian
builds). Only trixie carries the full set (Open MPI, Apptainer, compilers): Apptainer exists in
sid alone and needs glibc >= 2.38, so it installs on trixie but not on bookworm, and sid's Slurm
ships no ``mpi_pmix.so``. The two small suites serve the allocation logic.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from shim.errors import ShimError

RECIPE = 1
"""Raised when the way an image is built changes although its package list does not."""

_CORE = (
    "ca-certificates",
    "iproute2",
    "munge",
    "netcat-openbsd",
    "openssh-client",
    "openssh-server",
    "procps",
    "psmisc",
    "python3",
    "slurm-client",
    "slurm-wlm-basic-plugins",
    "slurmctld",
    "slurmd",
    "sudo",
    "tini",
)

_FULL = (
    "file",
    "fuse-overlayfs",
    "fuse2fs",
    "gcc",
    "gdb",
    "gocryptfs",
    "hwloc",
    "libc6-dev",
    "libhwloc-dev",
    "libopenmpi-dev",
    "libpmix-bin",
    "libpmix-dev",
    "make",
    "mpich",
    "openmpi-bin",
    "python3-cffi",
    "python3-dev",
    "python3-hypothesis",
    "python3-msgpack",
    "python3-pip",
    "python3-pmix",
    "python3-psutil",
    "python3-pytest",
    "python3-rich",
    "python3-setuptools",
    "python3-spython",
    "python3-wheel",
    "python3-yaml",
    "python3-zmq",
    "squashfs-tools",
    "squashfuse",
    "strace",
    "uidmap",
    "valgrind",
)


@dataclass(frozen=True)
class Suite:
    """One kind of node image.

    ``foreign`` are packages taken from ``foreign_suite`` by a pin too low to replace anything
    of the suite itself. ``full`` says that MPI, compilers and Apptainer are there, so that
    shim can be built and used in the node.
    """

    name: str
    packages: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    foreign_suite: str = "sid"
    expired: bool = False
    full: bool = False
    cgroup_plugin: str = "disabled"
    slurm: str = ""

    def key(self, architecture: str) -> str:
        """Name of the image in the cache: changes with whatever changes the image."""
        recipe = json.dumps(
            [RECIPE, architecture, self.name, self.packages, self.foreign, self.foreign_suite]
        )
        return f"{self.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


SUITES = {
    suite.name: suite
    for suite in (
        # 22.05 has no CgroupPlugin=disabled (cgroup.conf.5), and its slurmd ends when it detects
        # no cgroup file system. Named outright, the v1 plugin detects and mounts nothing.
        Suite("bookworm", (*_CORE, "libpmix2"), cgroup_plugin="cgroup/v1", slurm="22.05"),
        Suite("trixie", _CORE + _FULL, foreign=("apptainer",), full=True, slurm="24.11"),
        # A rolling suite's Release file carries a Valid-Until that a mirror snapshot outlives.
        Suite("sid", _CORE, expired=True, slurm="26.05"),
    )
}


def suite_named(name: str) -> Suite:
    """Return the suite called ``name``; refuse an unknown one."""
    try:
        return SUITES[name]
    except KeyError:
        raise ShimError(
            f"There is no node image for the suite {name!r}.",
            f"Choose one of {', '.join(SUITES)}.",
        ) from None
