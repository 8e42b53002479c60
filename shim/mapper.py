"""The mapper, told in the user's words; its refusals are the user's to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from cpusets import CpusetsError
from cpusets.options import MappingOptions, check_options
from shim.errors import ShimError
from shim.mapping_words import MappingWords


def check_words(words: MappingWords) -> None:
    """Refuse what no node can do, before any agent is started.

    Raises:
        ShimError: a word is wrong, or contradicts another.
    """
    with presentable():
        check_options(mapping_options(words))


def mapping_options(words: MappingWords) -> MappingOptions:
    """The words for the mapper; files are read apart."""
    values = asdict(words)
    del values["rankfile"], values["partitions"]
    return MappingOptions(**values)


@contextmanager
def presentable() -> Iterator[None]:
    """The mapper's refusals are told to the user as they are."""
    try:
        yield
    except CpusetsError as error:
        raise ShimError(error.message, error.hint) from error
