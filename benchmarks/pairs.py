"""Comparing two or more ways of doing the same thing: alternation, and ratios of pairs.

A machine drifts while it is measured. So the sides take turns in one run, the order turns round
after each round, and what is compared is side with side of the same round. Nothing here does
I/O.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Measurement = TypeVar("Measurement")


@dataclass(frozen=True)
class Spread:
    """Least, middle and greatest of *n* numbers."""

    n: int
    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one number."""
        return cls(len(values), min(values), statistics.median(values), max(values))


@dataclass(frozen=True)
class Limit:
    """What is expected of the median: of the ratios ours/theirs, or of the differences."""

    kind: Literal["ratio", "difference"]
    most: float

    def __str__(self) -> str:
        return f"≤ {self.most:g}×" if self.kind == "ratio" else f"≤ +{self.most:g}"


@dataclass(frozen=True)
class Finding:
    """One quantity of our side against another side's, over the rounds of a run.

    Smaller is better: rates are compared as the time per unit.
    """

    quantity: str
    unit: str
    against: str
    ours: Spread
    theirs: Spread
    ratio: Spread
    difference: Spread
    limit: Limit | None = None

    @property
    def verdict(self) -> str:
        """ "ok" or "missed" where something is expected, else ""."""
        if self.limit is None:
            return ""
        found = self.ratio if self.limit.kind == "ratio" else self.difference
        return "ok" if found.median <= self.limit.most else "missed"


@dataclass(frozen=True)
class Absolute:
    """One quantity by itself, with what it may be at most, if something is expected."""

    quantity: str
    unit: str
    found: Spread
    most: float | None = None

    @property
    def verdict(self) -> str:
        """ "ok" or "missed" by the median where something is expected, else ""."""
        if self.most is None:
            return ""
        return "ok" if self.found.median <= self.most else "missed"


def compare(
    quantity: str,
    unit: str,
    against: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    limit: Limit | None = None,
) -> Finding:
    """Compare round by round. Both sides need the same number of rounds, at least one.

    A pair in which the other side measured 0 has no ratio: it is refused, since leaving it out
    would move the median.
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"{len(ours)} measurements cannot be paired with {len(theirs)}")
    if any(other == 0 for other in theirs):
        raise ValueError(f"{against} measured 0 {unit} of {quantity}: there is no ratio to it")
    pairs = list(zip(ours, theirs, strict=True))
    return Finding(
        quantity=quantity,
        unit=unit,
        against=against,
        ours=Spread.of(ours),
        theirs=Spread.of(theirs),
        ratio=Spread.of([mine / other for mine, other in pairs]),
        difference=Spread.of([mine - other for mine, other in pairs]),
        limit=limit,
    )


def turns(sides: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Whose turn it is: (round, side). Every second round runs backwards."""
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            yield number, side


def alternate(
    sides: Mapping[str, Callable[[], Measurement]],
    rounds: int,
    watch: Callable[[int, str], None] = lambda _round, _side: None,
) -> dict[str, list[Measurement]]:
    """Measure every side *rounds* times, taking turns, after one turn each that does not count.

    The turn that does not count fills caches alike. *watch* is told of each turn as it begins;
    a warm-up is round -1.
    """
    taken: dict[str, list[Measurement]] = {side: [] for side in sides}
    for side, measure in sides.items():
        watch(-1, side)
        measure()
    for number, side in turns(list(sides), rounds):
        watch(number, side)
        taken[side].append(sides[side]())
    return taken
