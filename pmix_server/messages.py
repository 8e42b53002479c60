"""What libpmix prints, taken off the user's stderr and into the log."""

from __future__ import annotations

import asyncio
import logging
import os

log = logging.getLogger("libpmix")

VARIABLE = "PMIX_OUTPUT_STDERR_FD"
"""libpmix writes its messages to this descriptor instead of stderr (src/util/pmix_output.c)."""

# A 5.0.x server prints this once for every 4.x client, whose handshake is shorter; all works.
_HARMLESS = ("UNPACK_READ_PAST_END_OF_BUFFER in file", "bfrop_pmix41.c")

_CHUNK = 65536


def is_harmless(line: str) -> bool:
    """Whether a message of libpmix is known to mean nothing."""
    return all(part in line for part in _HARMLESS)


class Messages:
    """A pipe that libpmix writes its messages to; whole lines go to the logger ``libpmix``."""

    def __init__(self) -> None:
        # Never blocking: a full pipe must cost a message, not stop libpmix's thread.
        self._read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._partial = ""

    def open(self) -> dict[str, str]:
        """Start reading on the running loop; gives the setting for libpmix's environment."""
        asyncio.get_running_loop().add_reader(self._read_end, self._take)
        return {VARIABLE: str(self._write_end)}

    def close(self) -> None:
        """After libpmix has ended."""
        self._take()
        asyncio.get_running_loop().remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self._write_end)

    def _take(self) -> None:
        try:
            text = os.read(self._read_end, _CHUNK).decode(errors="replace")
        except BlockingIOError:
            return
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            if line.strip() and not is_harmless(line):
                log.warning("%s", line)
