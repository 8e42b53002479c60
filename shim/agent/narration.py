"""`--verbose`: the agent's log as lines for the user."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_ROOMS = ("shim", "pmix_server", "cpusets")


def narrate(say: Callable[[str], None], node: str) -> None:
    """Let *say* have what our packages log from now on, with the node and the seconds since."""
    handler = _Lines(say, node)
    for room in _ROOMS:
        logger = logging.getLogger(room)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        logger.propagate = False


class _Lines(logging.Handler):
    def __init__(self, say: Callable[[str], None], node: str) -> None:
        super().__init__()
        self._say = say
        self._node = node
        self._start = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        seconds = time.monotonic() - self._start
        self._say(f"shim: {self._node} {seconds:7.3f} s: {self.format(record)}")
