"""shim itself, installed for the nodes: a read-only /usr/local per content of the source tree.

It is mounted over /usr/local of every node instead of lying in the image, so that a changed
source is rebuilt in seconds and swapped under a running cluster.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shim.errors import ShimError
from testbed.image import in_build_namespace
from testbed.paths import cache_directory, locked_directory, remove_tree
from testbed.progress import Steps
from testbed.state import paths_in_use

MOUNT_POINT: Final = "/usr/local"
SOURCE_PARTS: Final = (
    "setup.py",
    "pyproject.toml",
    "c_ext",
    "cpusets",
    "examples",
    "meow_bridge",
    "pmix_server",
    "shim",
    "singularity-defs",
    "testbed",
)
_NOT_SOURCE: Final = ("*.so", "*.o", "*.pyc", "__pycache__", "*.egg-info", "build")
_KEPT: Final = 4
"""So many layers stay in the cache beside those in use: going back and forth is free."""

_RECIPE: Final = 1

# Debian's pip installs into /usr/local by itself; an explicit --prefix would be bent to
# /usr/local/local (python3.13's posix_local scheme).
_INSTALL: Final = """
mkdir -p "$1/upper/build" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --bind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/tmp"
mkdir "$1/root/tmp/source"
cp -a "$1/source/." "$1/root/tmp/source"
chroot "$1/root" python3 -m pip install --no-index --no-deps --no-build-isolation \\
    --break-system-packages --no-cache-dir --root-user-action=ignore --no-warn-script-location \\
    /tmp/source
"""


@contextmanager
def source_tree() -> Iterator[Path | None]:
    """Yield the source of this very shim: the checkout, or what the installed wheel carries.

    None if there is neither, or SHIM_TESTBED_NO_SHIM is set; then the nodes have no shim.
    """
    here = Path(__file__).resolve().parent
    archive = here / "_source.tar.gz"
    if os.environ.get("SHIM_TESTBED_NO_SHIM"):
        yield None
    elif (here.parent / "setup.py").is_file():
        yield here.parent
    elif archive.is_file():
        with tempfile.TemporaryDirectory(prefix="shim-source-") as scratch:
            with tarfile.open(archive) as tar:
                # Python 3.11 before 3.11.4 has no filters; the archive is our own.
                tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                tar.extractall(scratch)
            yield Path(scratch)
    else:
        yield None


def ensure_layer(image: Path, steps: Steps) -> Path | None:
    """Return the directory to mount on /usr/local; build it if this source has none yet."""
    with source_tree() as source:
        if source is None:
            return None
        directory = cache_directory() / "layers"
        layer = directory / f"{image.name}-{content_key(source)}"
        if not layer.is_dir():
            with locked_directory(directory / f"{image.name}.building") as workplace:
                if not layer.is_dir():
                    with steps("installing shim for the nodes (once per change of the source)"):
                        _build(source, image, workplace, layer)
                remove_tree(workplace)
            _forget_older(directory, keep=layer)
        os.utime(layer)
        return layer


def content_key(source: Path) -> str:
    """Hash of everything that is installed: names, modes and contents of the source files."""
    digest = hashlib.sha256(str(_RECIPE).encode())
    for path in _source_files(source):
        data = path.read_bytes()
        executable = path.stat().st_mode & 0o111 != 0
        digest.update(f"{path.relative_to(source)}\0{executable}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def _source_files(source: Path) -> Iterator[Path]:
    for part in SOURCE_PARTS:
        top = source / part
        candidates = sorted(top.rglob("*")) if top.is_dir() else [top]
        for path in candidates:
            relative = path.relative_to(source)
            ignored = any(
                Path(name).match(pattern) for name in relative.parts for pattern in _NOT_SOURCE
            )
            if path.is_file() and not ignored:
                yield path


def _build(source: Path, image: Path, workplace: Path, layer: Path) -> None:
    for stale in workplace.iterdir():
        remove_tree(stale) if stale.is_dir() else stale.unlink()
    for path in _source_files(source):
        copy = workplace / "source" / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    # The packaging asks for a README; its text is nothing to the nodes and not in the key.
    (workplace / "source" / "README.md").write_text("shim\n")
    log = workplace / "install.log"
    with log.open("wb") as sink:
        status = in_build_namespace(
            ["sh", "-euc", _INSTALL, "install", str(workplace), str(image)], sink
        )
    if status != 0:
        kept = layer.parent / "install-failed.log"
        shutil.copy(log, kept)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise ShimError(
            f"Installing shim from {source} into the node image failed:\n{tail}",
            f"Mend the source and try again; the whole log is {kept}.",
        )
    tree = workplace / "upper" / MOUNT_POINT.lstrip("/")
    _complete(tree, image / MOUNT_POINT.lstrip("/"))
    tree.rename(layer)


def _complete(tree: Path, lower: Path) -> None:
    """Add what only the image's /usr/local has: the layer replaces it, and does not merge."""
    for path in sorted(lower.rglob("*")):
        target = tree / path.relative_to(lower)
        if path.is_dir() and not path.is_symlink():
            target.mkdir(exist_ok=True)
        elif not os.path.lexists(target):
            shutil.copy2(path, target, follow_symlinks=False)


def _forget_older(directory: Path, keep: Path) -> None:
    used = paths_in_use()
    layers = [path for path in directory.iterdir() if path.is_dir() and path != keep]
    idle = [path for path in layers if str(path) not in used and path.suffix != ".building"]
    for path in sorted(idle, key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        remove_tree(path)
