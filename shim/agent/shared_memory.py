"""Where the ranks' shared memory and session files are, so that none of it stays behind.

Open MPI puts its segments into /dev/shm and its session files into /tmp, and removes them at
MPI_Finalize: ranks that are killed leave them. In directories of the step's own they go with the
step, whoever of us is left to remove them (c_ext/frontend/rendezvous.c).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from shim.container import Container

log = logging.getLogger(__name__)

_SETTINGS = (
    "OMPI_MCA_btl_vader_backing_directory",  # Open MPI 4
    "OMPI_MCA_btl_sm_backing_directory",  # Open MPI 5
    "OMPI_MCA_osc_sm_backing_directory",
    "OMPI_MCA_osc_rdma_backing_directory",
)


def directory_of(key: str) -> Path:
    """Where the step's shared memory is (the guard knows it by the same rule)."""
    return Path(f"/dev/shm/shim-{os.geteuid()}.{key}")


def make_directory(key: str) -> Path | None:
    """Make the step's directory for shared memory; None where there is no /dev/shm to use."""
    path = directory_of(key)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        log.warning("shared memory stays where MPI puts it: %s", error)
        return None
    return path


def settings(directory: Path | None, env: Mapping[str, str]) -> dict[str, str]:
    """What tells Open MPI of it; the user's own choice is never replaced."""
    if directory is None:
        return {}
    return {name: str(directory) for name in _SETTINGS if name not in env}


def is_visible(path: Path, container: Container | None) -> bool:
    """Whether ranks find *path* where we see it: with --contain they have a /tmp and a /dev/shm
    of their own, which vanish with the container."""
    if container is None:
        return True
    try:
        here = path.stat()
        inside = Path(f"/proc/{container.pids[0]}/root{path}").stat()
    except (OSError, IndexError):
        return False
    return (here.st_dev, here.st_ino) == (inside.st_dev, inside.st_ino)
