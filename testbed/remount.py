"""Mount a directory of this machine inside a node that already runs, read-only.

Run as a program of its own (``python remount.py SOURCE PID TARGET``): setns(2) to a mount
namespace needs a single-threaded process. A plain bind mount cannot cross mount namespaces
(EINVAL); a detached copy of the mount, open_tree(2) with OPEN_TREE_CLONE, can be carried over.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

# These numbers are the same on every architecture (asm-generic/unistd.h).
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_MOUNT_SETATTR: Final = 442
_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_MOUNT_ATTR_RDONLY: Final = 1
_MNT_DETACH: Final = 2
_CLONE_NEWNS: Final = 0x00020000

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def detached_read_only(source: str) -> int:
    """Return a descriptor of a mount of ``source`` that is attached nowhere yet."""
    tree = _check(
        _libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, source.encode(), _OPEN_TREE_CLONE), "open_tree"
    )
    # struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    result = _libc.syscall(
        _SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size
    )
    _check(result, "mount_setattr")
    return tree


def attach(tree: int, target: str) -> None:
    """Put the detached mount at ``target`` of the current mount namespace."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH
    result = _libc.syscall(
        _SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, target.encode(), ctypes.c_uint(flags)
    )
    _check(result, f"move_mount to {target}")


def main() -> None:
    """Replace what is mounted at TARGET in the node whose pid 1 is PID."""
    source, pid, target = sys.argv[1:]
    tree = detached_read_only(source)
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    _check(_libc.setns(namespace, _CLONE_NEWNS), "setns")
    if os.path.ismount(target):
        _check(_libc.umount2(target.encode(), _MNT_DETACH), f"umount {target}")
    attach(tree, target)


if __name__ == "__main__":
    try:
        main()
    except OSError as failure:
        print(failure, file=sys.stderr)
        sys.exit(1)
