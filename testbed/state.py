"""What is known of a cluster that is up: one JSON file in its state directory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from testbed.paths import clusters_directory

HEAD = "head"
SWITCH = "switch"


@dataclass(frozen=True)
class ClusterSpec:
    """What the user asked for. ``cpus`` is None for the machine's true CPUs."""

    name: str = "shim"
    nodes: int = 2
    cpus: int | None = None
    suite: str = "trixie"
    slurm_conf: tuple[str, ...] = ()

    @property
    def compute(self) -> tuple[str, ...]:
        """Names of the compute nodes."""
        return tuple(f"n{index}" for index in range(1, self.nodes + 1))

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all nodes, the head first."""
        return (HEAD, *self.compute)


@dataclass(frozen=True)
class Holder:
    """The process that keeps a node's namespaces: its pid 1, by host pid.

    ``started`` is the kernel's start time in clock ticks (field 22 of proc(5) stat): with it,
    a pid that now means another process is told apart.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Holder:
        """Describe the running process ``pid``; ProcessLookupError if there is none."""
        started = start_time(pid)
        if started is None:
            raise ProcessLookupError(pid)
        return cls(pid, started)

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return start_time(self.pid) == self.started


@dataclass(frozen=True)
class ClusterState:
    """A cluster and where its parts are."""

    spec: ClusterSpec
    image: str
    layer: str | None = None
    phase: str = "starting"
    holders: Mapping[str, Holder] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def any_alive(self) -> bool:
        """Whether anything of the cluster still runs."""
        return any(holder.alive for holder in self.holders.values())

    def with_holder(self, node: str, holder: Holder) -> ClusterState:
        """The same cluster with one more (or another) namespace holder."""
        return replace(self, holders={**self.holders, node: holder})


def start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None if gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name may hold blanks and parentheses; what follows the last one does not.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def directory_of(name: str) -> Path:
    """State directory of the cluster called ``name``."""
    return clusters_directory() / name


def save(state: ClusterState) -> None:
    """Write the state so that a reader sees the old or the new one, never half of it."""
    path = directory_of(state.spec.name) / "state.json"
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(state), indent=1))
    os.replace(draft, path)


def load(name: str) -> ClusterState | None:
    """Read a cluster's state; None if there is none or an ``up`` died before it wrote one."""
    try:
        raw = json.loads((directory_of(name) / "state.json").read_text())
        return _from_json(raw)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _from_json(raw: dict[str, Any]) -> ClusterState:
    spec = ClusterSpec(**{**raw["spec"], "slurm_conf": tuple(raw["spec"]["slurm_conf"])})
    holders = {node: Holder(**holder) for node, holder in raw["holders"].items()}
    return ClusterState(**{**raw, "spec": spec, "holders": holders})


def cluster_names() -> list[str]:
    """Names of all clusters that have a state directory."""
    try:
        return sorted(entry.name for entry in clusters_directory().iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []


def paths_in_use() -> set[str]:
    """Images and layers on which a cluster stands, as paths."""
    states = [state for name in cluster_names() if (state := load(name))]
    return {path for state in states for path in (state.image, state.layer) if path}
