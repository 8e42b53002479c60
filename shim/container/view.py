"""What a process in the container looks like from outside: the pattern for every rank.

Everything is read from /proc of the keeper (proc(5)), so a rank gets what the runtime really gave
and not what we believe that it gives.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shim.ticket import Capabilities

_SPACES = (
    ("user", 0x10000000),
    ("mnt", 0x00020000),
    ("cgroup", 0x02000000),
    ("uts", 0x04000000),
    ("ipc", 0x08000000),
    ("net", 0x40000000),
    ("pid", 0x20000000),
)
"""/proc/PID/ns name and clone flag (sched.h), in the order of entering: the user namespace first,
as it gives the right to enter the others; the PID namespace last, as it takes a fork."""


@dataclass(frozen=True)
class ContainerView:
    """The attributes of the keeper that a rank must share."""

    pid: int
    env: Mapping[str, str]
    cwd: str
    umask: int
    no_new_privs: bool
    capabilities: Capabilities
    seccomp: int
    """0: none; 2: filters, which only their maker can install (prctl(2))."""


def read_view(pid: int) -> ContainerView:
    """Read /proc/*pid*.

    Raises:
        OSError: the process is gone or is not ours.
    """
    process = Path("/proc", str(pid))
    status = _status(process)
    return ContainerView(
        pid=pid,
        env=_environment((process / "environ").read_bytes()),
        cwd=os.readlink(process / "cwd"),
        umask=int(status["Umask"], 8),
        no_new_privs=status["NoNewPrivs"] == "1",
        capabilities=Capabilities(
            bounding=int(status["CapBnd"], 16),
            inheritable=int(status["CapInh"], 16),
            ambient=int(status["CapAmb"], 16),
        ),
        seccomp=int(status["Seccomp"]),
    )


def own_umask() -> int:
    """This process's umask, read without changing it for a moment as umask(2) would."""
    return int(_status(Path("/proc/self"))["Umask"], 8)


def open_namespaces(pid: int) -> tuple[tuple[int, int], ...]:
    """(clone flag, descriptor) of each namespace of *pid* that is not our own, in joining order.

    Raises:
        OSError: the process is gone, or its namespaces are not ours to open.
    """
    opened: list[tuple[int, int]] = []
    try:
        for name, flag in _SPACES:
            path = f"/proc/{pid}/ns/{name}"
            if os.stat(path).st_ino != os.stat(f"/proc/self/ns/{name}").st_ino:
                opened.append((flag, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
    except OSError:
        for _, fd in opened:
            os.close(fd)
        raise
    return tuple(opened)


def children(pid: int) -> tuple[int, ...]:
    """The children of a process, whichever of its threads forked them (proc(5)).

    None where the kernel was built without CONFIG_PROC_CHILDREN.
    """
    words: list[str] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            words += task.read_text().split()
    return tuple(map(int, words))


def command_name(pid: int) -> str:
    """The name of a process's program, "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _status(process: Path) -> dict[str, str]:
    lines = (process / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _environment(data: bytes) -> dict[str, str]:
    env: dict[str, str] = {}
    for entry in data.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals:
            env.setdefault(os.fsdecode(name), os.fsdecode(value))
    return env
