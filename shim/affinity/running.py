"""Find the ranks that run on this node, by the environment that their launcher gave them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_GUARD = "shim-guard"


@dataclass(frozen=True)
class RunningRank:
    """One rank: its first process and the processes that it started, with its environment.

    `container_pid` is the pid in the innermost pid namespace (equal to `pid` where there is one).
    """

    namespace: str
    rank: int
    pid: int
    container_pid: int
    descendants: tuple[int, ...]
    env: Mapping[str, str]


def running_ranks(proc: Path = PROC) -> tuple[RunningRank, ...]:
    """The ranks that this user may look at, by namespace and rank.

    A process belongs to a rank if PMIX_NAMESPACE and PMIX_RANK are in its environment; the rank
    itself is the one of them whose parent is not among them. The guard, the agent and what they
    started (the container) carry the environment of the rank that started them, and are no ranks.
    """
    members: dict[tuple[str, int], dict[int, tuple[int, Mapping[str, str]]]] = {}
    for pid, env in _environments(proc):
        rank = env.get("PMIX_RANK", "")
        if env.get("PMIX_NAMESPACE") and rank.isdigit():
            parent = _status(proc, pid).get("PPid", "0")
            key = (env["PMIX_NAMESPACE"], int(rank))
            members.setdefault(key, {})[pid] = (int(parent.split()[0]), env)
    return tuple(
        _rank(proc, namespace, rank, processes)
        for (namespace, rank), found in sorted(members.items())
        if (processes := _without_ours(proc, found))
    )


def _without_ours(
    proc: Path, processes: Mapping[int, tuple[int, Mapping[str, str]]]
) -> dict[int, tuple[int, Mapping[str, str]]]:
    """Processes of one rank less the guard and the agent, and less their descendants."""
    ours = {pid for pid in processes if _is_ours(proc, pid)}
    grown = True
    while grown:
        below = {pid for pid, (parent, _) in processes.items() if parent in ours} - ours
        ours |= below
        grown = bool(below)
    return {pid: entry for pid, entry in processes.items() if pid not in ours}


def _is_ours(proc: Path, pid: int) -> bool:
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"shim.agent" in words or _status(proc, pid).get("Name") == _GUARD


def _rank(
    proc: Path,
    namespace: str,
    rank: int,
    processes: Mapping[int, tuple[int, Mapping[str, str]]],
) -> RunningRank:
    first = min(pid for pid, (parent, _) in processes.items() if parent not in processes)
    inside = _status(proc, first).get("NSpid", str(first)).split()
    return RunningRank(
        namespace=namespace,
        rank=rank,
        pid=first,
        container_pid=int(inside[-1]),
        descendants=tuple(sorted(set(processes) - {first})),
        env=processes[first][1],
    )


def _environments(proc: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # it ended, or belongs to someone else
            pairs = (word.decode(errors="replace").partition("=") for word in words if word)
            yield int(entry.name), {name: value for name, _, value in pairs}


def _status(proc: Path, pid: int) -> dict[str, str]:
    try:
        lines = (proc / str(pid) / "status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
