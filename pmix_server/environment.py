"""Environment variables around libpmix.

libpmix reads its identity, its directories and its settings from the environment of the whole
process, so a server that starts inside a launcher's process would take itself for the launcher's
rank (openpmix src/server/pmix_server.c, PMIx_server_init). And a rank must see our server's
variables only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_PREFIX = "PMIX_"

SERVER_SETTINGS: Mapping[str, str] = {
    # The shared-memory stores need files of ours inside the container, and break where they
    # are not (openpmix#3204, apptainer/singularity#5195); "hash" sends data by socket.
    "PMIX_MCA_gds": "hash",
    # munge may exist on the host and be absent in the image (NVIDIA/pyxis#139).
    "PMIX_MCA_psec": "native",
}

# Open MPI 4.1 starts N separate jobs unless one of these says that it was launched directly
# (orte/mca/schizo/{slurm,flux} of 4.1.4).
_SLURM_LAUNCH = ("SLURM_JOBID", "SLURM_NODELIST", "SLURM_STEP_ID")

_lock = threading.Lock()


@contextmanager
def only(settings: Mapping[str, str]) -> Iterator[None]:
    """While libpmix starts: PMIX_* of the C environment are exactly *settings*.

    os.environ, which other threads may be reading, keeps its content: only what getenv sees is
    changed. One at a time.
    """
    with _lock:
        saved = pmix_variables(os.environ.copy())
        try:
            for name in saved:
                os.unsetenv(name)
            for name, value in settings.items():
                os.putenv(name, value)
            yield
        finally:
            for name in settings:
                os.unsetenv(name)
            for name, value in saved.items():
                os.putenv(name, value)


def pmix_variables(env: Mapping[str, str]) -> dict[str, str]:
    """The PMIX_* part of an environment."""
    return {name: value for name, value in env.items() if name.startswith(_PREFIX)}


def without_launcher(env: Mapping[str, str]) -> dict[str, str]:
    """An environment without what a launcher's PMIx put into it, for a rank of ours."""
    return {name: value for name, value in env.items() if not name.startswith(_PREFIX)}


def direct_launch(env: Mapping[str, str], job_id: str) -> dict[str, str]:
    """What Open MPI 4.1 needs to see, where the rank's environment *env* does not have it.

    Under Slurm the step's own variables do; elsewhere Flux's job id is the least that works.
    """
    if all(name in env for name in _SLURM_LAUNCH) or "FLUX_JOB_ID" in env:
        return {}
    return {"FLUX_JOB_ID": job_id}


def parse_entries(entries: list[str]) -> dict[str, str]:
    """``NAME=value`` entries, as PMIx_server_setup_fork gives them."""
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
