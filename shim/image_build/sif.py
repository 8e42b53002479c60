"""From a Debian root to a SIF, as an ordinary user, by the container runtime's own builder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from shim.errors import ShimError
from shim.image_build.recipe import ImageRecipe

Report = Callable[[str], None]
"""Takes one line of progress."""

SQUASH_OPTIONS = "-comp lz4"
"""Every new mount of an image starts with a cold cache, and what MPI_Init loads is decompressed by
one FUSE process: measured with Open MPI 5.0.7, MPI_Init took 95 ms from gzip, 53 ms from zstd,
and 38 ms from lz4 or without compression. lz4 makes the file a third larger."""


def build_from_archive(recipe: ImageRecipe, archive: Path, output: Path, report: Report) -> None:
    """Unpack a root archive for the calling user, and build the SIF *output* from it."""
    with tempfile.TemporaryDirectory(prefix="shim-image-") as work:
        sandbox = Path(work, "root")
        sandbox.mkdir()
        report(f"unpacking {archive.name}")
        # Unpacked by the user, everything belongs to the user: the runtime's builder refuses to
        # read a sandbox with files of others. Device nodes can only be made by root.
        unpack = ["tar", "-xf", str(archive), "-C", str(sandbox), "--exclude=./dev/*"]
        result = subprocess.run(unpack, capture_output=True, text=True)
        if result.returncode != 0:
            raise ShimError(
                f"The root archive {archive} cannot be unpacked: {last_line(result.stderr)}.",
                "Make room in the temporary directory (TMPDIR), or build the archive anew.",
            )
        build_sif(recipe, sandbox, output, report)


def build_sif(recipe: ImageRecipe, sandbox: Path, output: Path, report: Report) -> None:
    """Build *recipe* on *sandbox*, a Debian root that belongs to the caller.

    *output* appears complete or not at all.
    """
    # Imported here: spython looks for the runtime when it is imported, and `shim image list`
    # must work without one.
    from spython.utils import stream_command

    runtime = shutil.which("apptainer") or shutil.which("singularity")
    if runtime is None:
        raise ShimError(
            "Neither apptainer nor singularity is installed here.",
            "Install one of them, or load its environment module.",
        )
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    command = build_command(runtime, recipe, sandbox, draft)
    lines: list[str] = []
    try:
        # Both streams in one pipe, read as they come: spython's Client.build drops the
        # builder's messages and its exit code, and its other forms of streaming leave stderr
        # unread, so that a talkative %post would block.
        for line in stream_command(command, output_type="both"):
            lines.append(line.rstrip())
            if line.startswith("INFO:"):
                report(line.removeprefix("INFO:").strip())
        draft.rename(output)
    except subprocess.CalledProcessError as error:
        raise ShimError(
            f"Building {recipe.name} failed: {last_error(lines)}.",
            f"The last lines of the builder were:\n{os.linesep.join(lines[-15:])}",
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def build_command(runtime: str, recipe: ImageRecipe, sandbox: Path, output: Path) -> list[str]:
    """The builder's command line."""
    return [
        runtime,
        "build",
        "--force",
        "--build-arg",
        f"sandbox={sandbox}",
        "--build-arg",
        f"examples={recipe.examples}",
        "--mksquashfs-args",
        SQUASH_OPTIONS,
        str(output),
        str(recipe.definition),
    ]


def last_error(lines: list[str]) -> str:
    """The line in which the builder says what is wrong; else its last one."""
    fatal = [line for line in lines if line.startswith(("FATAL:", "ERROR:"))]
    said = (fatal or [line for line in lines if line] or ["it said nothing"])[-1]
    return said.partition(":")[2].strip().rstrip(".") if fatal else said.rstrip(".")


def last_line(text: str) -> str:
    """The last line that is not blank, without its full stop."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else "it said nothing"
