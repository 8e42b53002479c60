"""Become pid 1 of a node: namespaces, root file system, devices; then exec an init.

Run as a program of its own (``python node_init.py JSON``), with nothing but the standard
library, so that a node costs one short interpreter start and inherits no state of its parent.
It prints the host pid of the new pid 1 once that has exec'd, or the error that stopped it.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import stat
import sys
from typing import Any, Final

_MS_NOSUID: Final = 0x2
_MS_NODEV: Final = 0x4
_MS_NOEXEC: Final = 0x8
_MS_RDONLY: Final = 0x1
_MS_REMOUNT: Final = 0x20
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000
_MNT_DETACH: Final = 0x2
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUTS: Final = 0x04000000
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
NODE_NAMESPACES: Final = _CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWPID | CLONE_NEWNET

MARK: Final = "SHIM_TESTBED"
"""Environment variable of every holder of a node's namespaces: the cluster's directory."""

_DEVICES: Final = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    # udev gives fuse mode 666; with less, squashfuse cannot mount images as a user.
    "fuse": (10, 229),
}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); OSError with the target in its text."""
    os.makedirs(target, exist_ok=True)
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None
    )
    _check(result, f"mount {kind or 'bind'} on {target}")


def main() -> None:
    """Start the node described by the first argument; report on stdout."""
    node: dict[str, Any] = json.loads(sys.argv[1])
    os.setsid()
    ready, done = os.pipe()
    _check(_libc.unshare(node["namespaces"]), "unshare")
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        try:
            _become(node, keep=done)
        except OSError as error:
            os.write(done, str(error).encode())
        os._exit(1)
    os.close(done)
    # Closed by a successful exec (O_CLOEXEC): an empty answer is the good one.
    complaint = os.read(ready, 4096)
    if complaint:
        print(f"error {complaint.decode()}")
        sys.exit(1)
    print(f"pid {pid}")


def _become(node: dict[str, Any], keep: int) -> None:
    os.umask(0o022)
    if node["namespaces"] & _CLONE_NEWNS:
        _enter_root(node)
        socket.sethostname(node["hostname"])
    os.chdir("/")
    _detach(keep)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **node["environment"]}
    os.execve(node["init"][0], node["init"], environment)


def _enter_root(node: dict[str, Any]) -> None:
    root = node["root"]
    # Nothing that is mounted from here on may travel back to the host.
    mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    layers = f"lowerdir={node['lower']},upperdir={node['upper']},workdir={node['work']}"
    mount("overlay", root, "overlay", data=layers)
    mount("proc", f"{root}/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    mount("sysfs", f"{root}/sys", "sysfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _make_devices(root)
    mount("tmpfs", f"{root}/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
    mount("tmpfs", f"{root}/run", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
    for source, target, writable in node["binds"]:
        mount(source, root + target, flags=_MS_BIND)
        if not writable:
            # The kernel takes MS_RDONLY of a bind mount only in a second step.
            mount("none", root + target, flags=_MS_REMOUNT | _MS_BIND | _MS_RDONLY)
    os.makedirs(f"{root}/.host", exist_ok=True)
    # Not chroot: Apptainer refuses a process whose root is not the root of its mount namespace.
    os.chdir(root)
    _check(_libc.pivot_root(b".", b".host"), "pivot_root")
    os.chdir("/")
    _check(_libc.umount2(b"/.host", _MNT_DETACH), "umount of the host's root")
    os.rmdir("/.host")


def _make_devices(root: str) -> None:
    mount("tmpfs", f"{root}/dev", "tmpfs", _MS_NOSUID, "mode=755")
    os.umask(0)
    for name, (major, minor) in _DEVICES.items():
        os.mknod(f"{root}/dev/{name}", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
    os.umask(0o022)
    options = "newinstance,ptmxmode=0666,mode=620,gid=5"
    mount("devpts", f"{root}/dev/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, options)
    mount("tmpfs", f"{root}/dev/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
    mount("mqueue", f"{root}/dev/mqueue", "mqueue", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd"}
    links |= {name: f"/proc/self/fd/{n}" for n, name in enumerate(("stdin", "stdout", "stderr"))}
    for name, target in links.items():
        os.symlink(target, f"{root}/dev/{name}")


def _detach(keep: int) -> None:
    """Leave stdio and every other descriptor of the starter, but for the report pipe."""
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.closerange(3, keep)
    os.closerange(keep + 1, 65536)


if __name__ == "__main__":
    try:
        main()
    except OSError as failure:
        print(f"error {failure}")
        sys.exit(1)
