"""Who sits where, as the user wrote it on the command line of `shim exec` or `shim run` (pure).

The words are read here and understood by `cpusets.options`. Standard library only: the package's
build reads the table of options, before `cpusets` can be imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shim.errors import ShimError

CPU_BIND_MODES = ("auto", "none")


@dataclass(frozen=True)
class MappingWords:
    """The axes of docs/mapping.md; None is 'not said'."""

    map_by: str = "auto"
    rank_by: str | None = None
    bind_to: str | None = None
    cpus_per_rank: int | None = None
    threads: int | None = None
    smt: int | None = None
    reserve: str | None = None
    gpus_per_rank: str = "0"
    mem_bind: str = "none"
    cpu_bind: str | None = None
    """An explicit list; `auto` and `none` are no lists."""
    oversubscribe: bool = False
    rankfile: str | None = None
    """Its path, as typed."""
    partitions: str | None = None
    """A file, or the declaration itself: `{mpi: 75%, analysis: 2}`."""

    @property
    def redeals(self) -> bool:
        """Whether the user, not the launcher, says which CPUs each rank gets."""
        axes = (
            self.rank_by,
            self.bind_to,
            self.cpus_per_rank,
            self.cpu_bind,
            self.rankfile,
            self.partitions,
        )
        return self.map_by != "auto" or any(axis is not None for axis in axes)


AS_USUAL = MappingWords()
"""Nothing was said."""


def mapping_words(own: Mapping[str, str | None]) -> MappingWords:
    """Take the axes out of all options given, by name without dashes.

    Raises:
        ShimError: a number is none, or --device-order has an unknown value.
    """
    choice(own, "device-order", ("nearest",))
    bind = own.get("cpu-bind")
    return MappingWords(
        map_by=own.get("map-by") or "auto",
        rank_by=own.get("rank-by"),
        bind_to=own.get("bind-to"),
        cpus_per_rank=count(own, "cpus-per-rank"),
        threads=count(own, "threads"),
        smt=count(own, "smt"),
        reserve=own.get("reserve"),
        gpus_per_rank=own.get("gpus-per-rank") or "0",
        mem_bind=own.get("mem-bind") or "none",
        cpu_bind=bind if bind is not None and ":" in bind else None,
        oversubscribe="oversubscribe" in own,
        rankfile=own.get("rankfile"),
        partitions=own.get("partitions"),
    )


def binds_cpus(own: Mapping[str, str | None]) -> bool:
    """Whether ranks are bound at all: `--cpu-bind` is not `none`.

    Raises:
        ShimError: it is neither a mode nor a list.
    """
    if ":" in (own.get("cpu-bind") or ""):
        return True
    return choice(own, "cpu-bind", CPU_BIND_MODES) != "none"


def count(own: Mapping[str, str | None], name: str) -> int | None:
    """A number above zero, or None where the option was not given."""
    word = own.get(name)
    if word is None:
        return None
    if not word.isdecimal() or int(word) < 1:
        raise ShimError(
            f"Option --{name} has the value {word!r}.", "It must be a whole number above zero."
        )
    return int(word)


def choice(own: Mapping[str, str | None], name: str, choices: tuple[str, ...]) -> str:
    """One of *choices*; the first where the option was not given."""
    word = own.get(name) or choices[0]
    if word not in choices:
        raise ShimError(
            f"Option --{name} has the value {word!r}.", f"It must be one of {', '.join(choices)}."
        )
    return word
