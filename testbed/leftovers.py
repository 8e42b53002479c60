"""What jobs left behind on the nodes: the question that tests of cleanliness ask."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.image import USERS
from testbed.process import entering, home_of
from testbed.state import HEAD, ClusterState, Holder

BASE_MOUNTS: Final = frozenset(
    "/ /dev /dev/mqueue /dev/pts /dev/shm /etc/slurm /home /proc /run /shared /sys /tmp "
    "/usr/local".split()
)
"""Mount points that every node has from its start."""

_DAEMONS: Final = frozenset(("munged", "slurmctld", "slurmd", "sshd", "tini"))
_TRANSIENT: Final = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")
_UIDS: Final = {"root": 0, **dict(USERS)}


@dataclass(frozen=True)
class NodeProcessInfo:
    """A process on a node. ``pid`` is its pid on this machine."""

    node: str
    pid: int
    parent: int
    uid: int
    program: str
    command: str


@dataclass(frozen=True)
class Leftovers:
    """What is there beyond a fresh cluster. False when there is nothing.

    Attributes:
        processes: everything but the nodes' own daemons.
        mounts: "node: mount point" of mounts that a fresh node does not have.
        files: "node: path" in /tmp, /var/tmp, /dev/shm, /dev/mqueue, in the homes'
            .apptainer/instances and .singularity/instances, and System V segments.
        queue: jobs that squeue lists.
    """

    processes: tuple[NodeProcessInfo, ...]
    mounts: tuple[str, ...]
    files: tuple[str, ...]
    queue: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.processes or self.mounts or self.files or self.queue)

    def __str__(self) -> str:
        lines = [f"process {p.node}: {p.pid} uid {p.uid}: {p.command}" for p in self.processes]
        lines += [f"mount {mount}" for mount in self.mounts]
        lines += [f"file {path}" for path in self.files]
        lines += [f"job {job}" for job in self.queue]
        return "\n".join(lines) or "nothing"


def find_leftovers(state: ClusterState, user: str | None) -> Leftovers:
    """Look on all living nodes; of ``user`` alone, or of anyone."""
    uid = None if user is None else _UIDS[user]
    alive = {node: h for node in state.spec.members if (h := state.holders[node]).alive}
    processes = [
        process
        for node, holder in alive.items()
        for process in processes_on(node, holder)
        if uid in (None, process.uid) and not _is_own(process, holder)
    ]
    mounts = [f"{node}: {point}" for node, holder in alive.items() for point in _mounts(holder)]
    files = [f"{node}: {path}" for node, holder in alive.items() for path in _files(holder, uid)]
    if HEAD in alive:
        files += [f"homes: {path}" for path in _instance_files(alive[HEAD], uid)]
    queue = _queue(alive[HEAD], user) if HEAD in alive else []
    return Leftovers(tuple(processes), tuple(mounts), tuple(files), tuple(queue))


def processes_on(node: str, holder: Holder) -> list[NodeProcessInfo]:
    """All processes of a node, those in containers' own PID namespaces included.

    A process belongs to the node if it shares its PID or network namespace, or descends from
    one that does.
    """
    marks = _namespaces(holder.pid)
    table = {info.pid: info for info in _all_processes(node)}
    members = {pid for pid in table if marks & _namespaces(pid)}
    grew = True
    while grew:
        more = {pid for pid, info in table.items() if info.parent in members} - members
        members |= more
        grew = bool(more)
    return [table[pid] for pid in sorted(members)]


def _namespaces(pid: int) -> frozenset[str]:
    try:
        return frozenset(os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("pid", "net"))
    except OSError:
        return frozenset()


def _all_processes(node: str) -> Iterator[NodeProcessInfo]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = dict(
                line.split(":\t", 1)
                for line in (entry / "status").read_text().splitlines()
                if ":\t" in line
            )
            command = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
        except OSError:
            continue
        # A zombie has no command line and is a leftover all the same: nobody reaped it.
        yield NodeProcessInfo(
            node=node,
            pid=int(entry.name),
            parent=int(status["PPid"]),
            uid=int(status["Uid"].split()[0]),
            program=status["Name"],
            command=command.decode(errors="replace") or f"[{status['Name']} {status['State']}]",
        )


def _is_own(process: NodeProcessInfo, holder: Holder) -> bool:
    """Whether it is one of the processes that make the node a node."""
    # nsenter waits outside for a command that somebody runs here; that one is listed itself.
    if process.program in ("munged", "slurmctld", "nsenter"):
        return True
    if process.uid != 0:
        # slurmctld's helper process runs as the user slurm (slurm.conf(5), SlurmUser).
        return process.program == "slurmscriptd"
    idle = process.parent == holder.pid and process.command == "sleep infinity"
    return idle or process.program in _DAEMONS or process.program == "slurmscriptd"


def _mounts(holder: Holder) -> list[str]:
    table = Path(f"/proc/{holder.pid}/mountinfo").read_text()
    points = [line.split()[4] for line in table.splitlines()]
    doubled = {point for point in points if points.count(point) > 1}
    return sorted({point for point in points if point not in BASE_MOUNTS} | doubled)


def _files(holder: Holder, uid: int | None) -> list[str]:
    root = Path(f"/proc/{holder.pid}/root")
    found = [
        str(Path("/") / path.relative_to(root))
        for place in _TRANSIENT
        for path in sorted((root / place.lstrip("/")).iterdir())
        if _owned(path, uid)
    ]
    # /proc/sysvipc shows the IPC namespace of the reader, whatever the path.
    table = subprocess.run(
        entering(holder, ["cat", "/proc/sysvipc/shm"]), capture_output=True, text=True, check=False
    ).stdout
    for line in table.splitlines()[1:]:
        fields = line.split()
        if uid in (None, int(fields[7])):
            found.append(f"System V segment {fields[1]}")
    return found


def _instance_files(head: Holder, uid: int | None) -> list[str]:
    root = Path(f"/proc/{head.pid}/root")
    found = []
    for user in _UIDS:
        for runtime in (".apptainer", ".singularity"):
            place = root / home_of(user).lstrip("/") / runtime / "instances"
            paths = sorted(place.rglob("*")) if place.is_dir() else []
            # The logs of ended instances stay by the runtime's design.
            found += [
                str(Path("/") / path.relative_to(root))
                for path in paths
                if path.is_file() and "logs" not in path.parts and _owned(path, uid)
            ]
    return found


def _owned(path: Path, uid: int | None) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return uid in (None, status.st_uid)


def _queue(head: Holder, user: str | None) -> list[str]:
    command = ["squeue", "--noheader", "--format=%i %T %u %j"]
    if user is not None:
        command.append(f"--user={user}")
    answer = subprocess.run(
        entering(head, command), capture_output=True, text=True, check=False
    ).stdout
    return answer.splitlines()
