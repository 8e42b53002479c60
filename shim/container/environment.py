"""What environment a joined rank gets (pure).

The runtime computed the keeper's environment from that of the process which started it: it
drops some variables, sets others, and runs the image's environment scripts. A rank has an
environment of its own (its rank number, at least), so what the runtime did once is applied to
each rank's variables. The rules of what is forwarded are Apptainer's
(internal/pkg/util/env/create.go, action_script.sh).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
"""What the runtime's shell can export (process_linux.go, getAllEnvBuiltin)."""

_SETTINGS = ("APPTAINER_", "SINGULARITY_")
"""Settings of the runtime: never forwarded."""
_OVERRIDES = ("APPTAINERENV_", "SINGULARITYENV_")
"""`APPTAINERENV_X=v` becomes `X=v`; the first prefix wins."""

_ALWAYS_FORWARDED = {"TERM"} | {
    name
    for scheme in ("http", "https", "no", "all", "ftp")
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())
}
"""Forwarded even with --cleanenv."""

_OF_THE_RUNTIME = {"HOME", "PATH", "LD_LIBRARY_PATH", "PWD", "OLDPWD"}
"""Never forwarded: the runtime or the image sets them."""

_PATH_OVERRIDES = {"PATH", "PREPEND_PATH", "APPEND_PATH"}

PER_RANK = {
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_TASK_PID",
    "SLURM_GTIDS",
    "SLURM_CPU_BIND",
    "SLURM_CPU_BIND_LIST",
    "PMIX_RANK",
    "PMI_RANK",
    "PMI_FD",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_NODE_RANK",
}
"""Set by the launcher for each task: the rank's own value holds whatever an image says."""

INTERNAL = {"SHIM_FRONTEND"}
"""Ours, for the agent only."""


def rank_environment(
    base: Mapping[str, str], captured: Mapping[str, str], rank: Mapping[str, str], *, clean: bool
) -> dict[str, str]:
    """The environment of a rank in the container.

    Args:
        base: the environment in which the runtime was started.
        captured: what it made of it: the keeper's environment.
        rank: the environment of the rank's front-end.
        clean: --cleanenv or --containall was given.

    For a rank whose environment is *base* the result is *captured*.
    """
    result: dict[str, str] = {}
    for name, value in captured.items():
        if name in _OF_THE_RUNTIME or base.get(name) != value or rank.get(name) == value:
            result[name] = value
    for name, value in rank.items():
        if name in result and (name not in PER_RANK or clean or base.get(name) == value):
            continue
        if _forwards(name, value, clean) and (name in captured or name not in base):
            result[name] = value
    result.update(_changed_overrides(base, rank))
    return result


def _forwards(name: str, value: str, clean: bool) -> bool:
    if name in INTERNAL or name in _OF_THE_RUNTIME or not value or not _NAME.match(name):
        return False
    if name.startswith(_SETTINGS + _OVERRIDES):
        return False
    return not clean or name in _ALWAYS_FORWARDED


def _changed_overrides(base: Mapping[str, str], rank: Mapping[str, str]) -> dict[str, str]:
    """Overrides (APPTAINERENV_X) that this rank has and the runtime did not see as they are.

    The runtime evaluates such a value in a shell; one that would need that keeps what the runtime
    made of the leader's.
    """
    changed: dict[str, str] = {}
    for prefix in reversed(_OVERRIDES):
        for name, value in rank.items():
            inner = name.removeprefix(prefix)
            if inner == name or not _NAME.match(inner) or inner in _PATH_OVERRIDES | {"HOME"}:
                continue
            if base.get(name) != value and not set(value) & set("$`\\"):
                changed[inner] = value
    return changed


def without(env: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """*env* less the variables whose names start so: the host's PMIx, where ours takes over."""
    return {name: value for name, value in env.items() if not name.startswith(prefixes)}
