"""Real processes to bind and move."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

THREADS = 4

_PROGRAM = (
    "import sys, threading\n"
    "e = threading.Event()\n"
    f"for _ in range({THREADS - 1}): threading.Thread(target=e.wait, daemon=True).start()\n"
    "print('up', flush=True); sys.stdin.read()"
)


@contextmanager
def waiting() -> Iterator[subprocess.Popen[bytes]]:
    """A process of four threads that waits until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()
