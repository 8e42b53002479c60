"""Benchmarks compare turn by turn, and say how many turns there were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pairs import Absolute, Limit, Spread, alternate, compare, turns

times = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=9)


def test_every_second_round_runs_backwards() -> None:
    assert list(turns(["a", "b"], 3)) == [
        (0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b"),
    ]  # fmt: skip


def test_sides_alternate_after_one_turn_each_that_does_not_count() -> None:
    order: list[str] = []

    def side(name: str) -> int:
        order.append(name)
        return len(order)

    taken = alternate({"a": lambda: side("a"), "b": lambda: side("b")}, rounds=2)
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert taken == {"a": [3, 6], "b": [4, 5]}


def test_ratios_are_those_of_the_same_round() -> None:
    finding = compare("time", "s", "them", ours=[1.0, 8.0, 3.0], theirs=[2.0, 4.0, 3.0])
    assert finding.ratio == Spread(n=3, minimum=0.5, median=1.0, maximum=2.0)
    assert finding.difference == Spread(n=3, minimum=-1.0, median=0.0, maximum=4.0)


@given(times)
def test_a_side_compared_with_itself_has_ratio_one(values: list[float]) -> None:
    finding = compare("time", "s", "itself", values, values)
    assert finding.ratio == Spread(len(values), 1.0, 1.0, 1.0)


@given(times)
def test_a_spread_is_in_order(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.minimum <= spread.median <= spread.maximum


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [
        (None, ""),
        (Limit("ratio", 0.5), "ok"),
        (Limit("ratio", 0.49), "missed"),
        (Limit("difference", -1.0), "ok"),
        (Limit("difference", -1.1), "missed"),
    ],
)
def test_the_median_is_held_against_the_expectation(limit: Limit | None, verdict: str) -> None:
    assert compare("time", "s", "them", [1.0], [2.0], limit).verdict == verdict


def test_an_absolute_quantity_has_a_verdict_only_with_an_expectation() -> None:
    spread = Spread.of([59.0, 60.0, 90.0])
    verdicts = [Absolute("rss", "MB", spread, most).verdict for most in (None, 60.0, 59.9)]
    assert verdicts == ["", "ok", "missed"]


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], []), ([1.0], [1.0, 2.0])])
def test_what_cannot_be_paired_is_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="paired"):
        compare("time", "s", "them", ours, theirs)


def test_a_side_that_measured_nothing_has_no_ratio() -> None:
    with pytest.raises(ValueError, match="no ratio"):
        compare("memory", "MB", "native", [1.0, 1.0], [0.0, 1.0])
