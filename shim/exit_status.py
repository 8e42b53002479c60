"""How a process that is nobody's child of ours ended."""

from __future__ import annotations

import fcntl
import struct

_INFO = struct.Struct("=QQ11Ii")
"""struct pidfd_info up to exit_code (linux/pidfd.h): mask, cgroup, 11 ids, wait status."""
_INFO_EXIT = 1 << 3
_GET_INFO = 0xC000FF0B | _INFO.size << 16
"""PIDFD_GET_INFO, _IOWR(0xFF, 11, struct pidfd_info)."""


def exit_status(pidfd: int) -> int | None:
    """The wait status of an ended process, once its parent has reaped it.

    None where that is not so yet, and on kernels before 6.15, which do not tell it.
    """
    request = _INFO.pack(_INFO_EXIT, *([0] * 13))
    try:
        answer = fcntl.ioctl(pidfd, _GET_INFO, request)
    except OSError:
        return None
    mask, *_, status = _INFO.unpack(answer)
    return int(status) if mask & _INFO_EXIT else None
