"""What is wrong with an image can be said before a runtime is started."""

from __future__ import annotations

import os
import platform
import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from shim.errors import ShimError

HEADER_BYTES = 128
"""As much of the file as `judge_header` needs."""

_SIF_MAGIC = b"SIF_MAGIC\0"
_SIF_MAGIC_AT = 32
_SIF_ARCH_AT = 45
"""The SIF header: 32 bytes launch script, 10 magic, 3 version, 3 architecture (sif/pkg/sif)."""
_SQUASHFS_MAGIC = b"hsqs"

_SIF_ARCHITECTURES = {
    b"01": "386",
    b"02": "amd64",
    b"03": "arm",
    b"04": "arm64",
    b"05": "ppc64",
    b"06": "ppc64le",
    b"07": "mips",
    b"08": "mipsle",
    b"09": "mips64",
    b"10": "mips64le",
    b"11": "s390x",
    b"12": "riscv64",
}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""uname's names where they differ from those of SIF."""
_ALSO_RUNS = {"amd64": {"386"}, "arm64": {"arm"}}


class ImageKind(Enum):
    """What the user named."""

    SIF = "SIF file"
    SQUASHFS = "squashfs file"
    SANDBOX = "sandbox directory"
    INSTANCE = "running instance"


@dataclass(frozen=True)
class Image:
    """An image that was looked at."""

    reference: str
    """As the user wrote it, and as the runtime gets it."""
    kind: ImageKind
    architecture: str | None = None
    """In Go's words (amd64, arm64); None where the image does not tell."""


def judge_header(data: bytes) -> tuple[ImageKind, str | None] | None:
    """Kind and architecture from a file's first bytes; None: not an image (pure)."""
    if data[_SIF_MAGIC_AT : _SIF_MAGIC_AT + len(_SIF_MAGIC)] == _SIF_MAGIC:
        return ImageKind.SIF, _SIF_ARCHITECTURES.get(data[_SIF_ARCH_AT : _SIF_ARCH_AT + 2])
    if data.startswith(_SQUASHFS_MAGIC):
        return ImageKind.SQUASHFS, None
    return None


def check_image(reference: str, *, machine: str | None = None) -> Image:
    """Look at the image as far as that is cheap.

    Args:
        machine: uname's machine name; default: this node's.

    Raises:
        ShimError: it is missing, unreadable, no image, of another architecture, or must be
            fetched first.
    """
    scheme, separator, _ = reference.partition("://")
    if separator:
        return _check_scheme(reference, scheme)
    path = Path(reference)
    try:
        mode = os.stat(reference).st_mode  # not of Path(""), which would be "."
    except OSError as error:
        raise _unusable(reference, error) from error
    if stat.S_ISDIR(mode):
        return _check_sandbox(reference, path)
    return _check_file(reference, path, machine or platform.machine())


def _check_scheme(reference: str, scheme: str) -> Image:
    if scheme == "instance":
        return Image(reference, ImageKind.INSTANCE)
    raise ShimError(
        f"The image {reference} is not a local file, and every node would fetch its own copy.",
        f"Fetch it once with `apptainer pull app.sif {reference}` to a directory that all nodes "
        "see, and name that file.",
    )


def _check_sandbox(reference: str, path: Path) -> Image:
    if not os.access(path, os.R_OK | os.X_OK):
        raise _unusable(reference, PermissionError(13, os.strerror(13)))
    return Image(reference, ImageKind.SANDBOX)


def _check_file(reference: str, path: Path, machine: str) -> Image:
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise _unusable(reference, error) from error
    judged = judge_header(header)
    if judged is None:
        raise ShimError(
            f"The file {reference} is not a container image.",
            "Name a SIF file, a squashfs file or a sandbox directory before the program.",
        )
    kind, architecture = judged
    host = _MACHINES.get(machine, machine)
    if architecture not in (None, host, *_ALSO_RUNS.get(host, ())) and not _emulated():
        raise ShimError(
            f"The image {reference} is built for {architecture}, and this node is {host}.",
            f"Build or pull the image for {host}, or run the step on {architecture} nodes.",
        )
    return Image(reference, kind, architecture)


def _emulated() -> bool:
    """Whether an interpreter for foreign programs is registered that works in containers (F)."""
    for entry in Path("/proc/sys/fs/binfmt_misc").glob("qemu-*"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        if "enabled" in text and any(
            line.startswith("flags:") and "F" in line.partition(":")[2]
            for line in text.splitlines()
        ):
            return True
    return False


def _unusable(reference: str, error: OSError) -> ShimError:
    if isinstance(error, FileNotFoundError):
        return ShimError(
            f"The image {reference} does not exist on this node.",
            "Check the path, and that the file system with the image is mounted on every node.",
        )
    if isinstance(error, PermissionError):
        return ShimError(
            f"The image {reference} cannot be read: {error.strerror}.",
            "Ask its owner for read permission on the file and its directories (chmod a+rX).",
        )
    return ShimError(
        f"The image {reference} cannot be opened: {error.strerror}.",
        "Check the path and the file system that it is on.",
    )
