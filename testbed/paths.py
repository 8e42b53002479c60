"""Where the testbed keeps its files, and the locks on them."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_directory() -> Path:
    """Directory of images and clusters: ``$SHIM_CACHE``, else /var/cache/shim."""
    return Path(os.environ.get("SHIM_CACHE") or "/var/cache/shim").absolute()


def clusters_directory() -> Path:
    """Directory that holds one state directory per cluster that is up."""
    return cache_directory() / "clusters"


@contextmanager
def locked_directory(path: Path) -> Iterator[Path]:
    """Hold an exclusive lock on the directory ``path``, made if it is not there.

    The lock is a flock(2) on the directory itself, so that it leaves no lock file behind and
    the kernel drops it with its holder. Whoever waited for a directory that was removed
    meanwhile holds a lock on nothing, and tries again.
    """
    while True:
        path.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _same_directory(descriptor, path):
                yield path
                return
        finally:
            os.close(descriptor)


def _same_directory(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def remove_tree(path: Path) -> None:
    """Remove ``path`` and all below it; nothing happens if it is not there.

    Never follows into another file system: mounts of a node live in the node's own mount
    namespace and are invisible here.
    """
    if path.exists():
        shutil.rmtree(path)
