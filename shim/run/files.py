"""Files that a job's options name, read where the user typed them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from shim.errors import ShimError

if TYPE_CHECKING:  # `shim exec` reads files too, and does without jobs
    from shim.run.spec import RunSpec


def with_files(spec: RunSpec, cwd: str) -> RunSpec:
    """The job with the contents of its files: agents on other nodes may not see them.

    Raises:
        ShimError: one of them cannot be read.
    """
    path, shares = spec.mapping.rankfile, spec.mapping.partitions
    return replace(
        spec,
        rankfile=None if path is None else read_file(path, cwd),
        partitions=None if shares is None else read_partitions(shares, cwd),
    )


def read_partitions(text: str, cwd: str) -> str:
    """The declaration of partitions, as YAML: *text* is it (`{mpi: 75%}`), or names its file.

    Raises:
        ShimError: the file cannot be read.
    """
    return f"partitions: {text}" if text.lstrip().startswith("{") else read_file(text, cwd)


def read_file(path: str, cwd: str) -> str:
    """The text of a file that was named in directory *cwd*.

    Raises:
        ShimError: it cannot be read.
    """
    try:
        return Path(cwd, path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShimError(f"The file {path} cannot be read: {error}.", "Check the path.") from error
