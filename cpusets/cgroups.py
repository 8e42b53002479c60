"""The cpuset control groups of this process, version 1 or 2: the firm rung of the ladder.

A cpuset holds whatever the process and its children do, while an affinity mask is only a start
value that any of them may widen. It needs a group that we may write to: a delegated subtree.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cpusets.cpuset import CpuSet
from cpusets.errors import BindingError


@dataclass(frozen=True, slots=True)
class CpusetGroup:
    """A directory of the cgroup file system whose cpuset controller is at work."""

    path: Path
    version: int

    def effective(self) -> CpuSet:
        """The CPUs that its processes really may use. Raises BindingError."""
        name = "cpuset.cpus.effective" if self.version == 2 else "cpuset.effective_cpus"
        return CpuSet.parse(_read(self.path / name))

    def memory_nodes(self) -> CpuSet:
        """The NUMA nodes that its processes really may use. Raises BindingError."""
        name = "cpuset.mems.effective" if self.version == 2 else "cpuset.effective_mems"
        return CpuSet.parse(_read(self.path / name))

    def delegated(self) -> bool:
        """Whether we may make groups below it and put processes there."""
        return os.access(self.path, os.W_OK) and os.access(self.path / "cgroup.procs", os.W_OK)

    def child(self, name: str, cpus: CpuSet) -> CpusetGroup:
        """Make a group below for `cpus`, with all of this group's memory. Raises BindingError.

        Version 1 takes no process before both cpus and mems are set; version 2 accepts CPUs that
        it does not have and silently uses all of the parent's, so what is effective is checked.
        """
        group = CpusetGroup(self.path / name, self.version)
        if self.version == 2 and "cpuset" not in _read(self.path / "cgroup.subtree_control"):
            _write(self.path / "cgroup.subtree_control", "+cpuset")
        try:
            group.path.mkdir()
        except OSError as error:
            raise BindingError(
                f"The control group {group.path} cannot be made: {error.strerror}.",
                "Without a delegated cpuset, ranks are bound by their affinity masks.",
            ) from error
        try:
            _write(group.path / "cpuset.mems", str(self.memory_nodes()))
            group.resize(cpus)
        except BindingError:
            group.remove()
            raise
        return group

    def resize(self, cpus: CpuSet) -> None:
        """Give it other CPUs; the kernel moves its processes. Raises BindingError."""
        _write(self.path / "cpuset.cpus", str(cpus))
        if self.effective() != cpus:
            raise BindingError(
                f"The control group {self.path} was given CPUs {cpus} but has {self.effective()}.",
                "Its parent does not have all of them, or some are offline.",
            )

    def attach(self, pid: int) -> None:
        """Move a process with all its threads into it. Raises BindingError."""
        _write(self.path / "cgroup.procs", str(pid))

    def processes(self) -> tuple[int, ...]:
        """The pids in it. Raises BindingError."""
        return tuple(int(line) for line in _read(self.path / "cgroup.procs").split())

    def remove(self) -> None:
        """Delete it; its processes must have ended or been moved. Raises BindingError."""
        try:
            self.path.rmdir()
        except OSError as error:
            raise BindingError(
                f"The control group {self.path} cannot be removed: {error.strerror}."
            ) from error


def own_group(pid: int | None = None, proc: Path = Path("/proc")) -> CpusetGroup | None:
    """The cpuset group of a process (None: this one); None where it cannot be seen from here.

    Its path is the process's, where that is mounted is our own mountinfo's to say: inside a
    container the mount may show only a part of the hierarchy, or nothing.
    """
    try:
        own = (proc / ("self" if pid is None else str(pid)) / "cgroup").read_text(encoding="utf-8")
        mounts = (proc / "self" / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    membership = own.splitlines()
    version_1 = version_2 = None
    for line in membership:
        _, controllers, path = line.split(":", 2)
        if "cpuset" in controllers.split(","):
            version_1 = _mounted(mounts, "cgroup", "cpuset", path)
        elif not controllers:
            version_2 = _mounted(mounts, "cgroup2", None, path)
    if version_1 is not None:
        return CpusetGroup(version_1, 1)
    if version_2 is not None and (version_2 / "cpuset.cpus.effective").exists():
        return CpusetGroup(version_2, 2)
    return None


def _mounted(mounts: list[str], kind: str, option: str | None, path: str) -> Path | None:
    """Where a group's path is mounted (proc(5), mountinfo: root is field 4, point field 5)."""
    for line in mounts:
        fields = line.split()
        tail = fields[fields.index("-") + 1 :]
        if tail[0] != kind or (option is not None and option not in tail[2].split(",")):
            continue
        root, point = fields[3], fields[4]
        if path == root or path.startswith(root.rstrip("/") + "/"):
            found = Path(point) / path[len(root.rstrip("/")) :].lstrip("/")
            if found.is_dir():
                return found
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise BindingError(f"{path} cannot be read: {error.strerror}.") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise BindingError(
            f"{path} does not take {text!r}: {error.strerror}.",
            "Without a delegated cpuset, ranks are bound by their affinity masks.",
        ) from error
