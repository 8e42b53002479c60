"""Directories that only their owner may enter: libpmix's rendezvous, the ranks' session files."""

from __future__ import annotations

import os
from pathlib import Path

from pmix_server.errors import PmixError

_REMEDY = "Choose a directory on local storage that you may write."


def private_directory(path: Path) -> Path:
    """The directory *path*, made with mode 0700 if it is missing.

    Raises:
        PmixError: it cannot be made or written.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PmixError(
            f"The directory {path} for PMIx cannot be made: {error.strerror}.", _REMEDY
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise PmixError(f"The directory {path} for PMIx is not writable.", _REMEDY)
    return path
