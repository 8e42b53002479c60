"""Slurm's list notations, as slurm.conf(5) and srun(1) describe them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.hostlist import expand, expand_counts


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("n1", ("n1",)),
        ("n1,n3", ("n1", "n3")),
        ("n[1-3]", ("n1", "n2", "n3")),
        ("n[1-2,5],gpu07", ("n1", "n2", "n5", "gpu07")),
        ("n[08-11]", ("n08", "n09", "n10", "n11")),
        ("r[1-2]c[3-4]", ("r1c3", "r1c4", "r2c3", "r2c4")),
        ("a[1-2]-ib", ("a1-ib", "a2-ib")),
    ],
)
def test_expand(text: str, names: tuple[str, ...]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize("text", ["n[1-2", "n1]", "n[a-b]", "n[1-]", "n[[1]]"])
def test_what_is_no_hostlist_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hostlist|node numbers"):
        expand(text)


@given(st.lists(st.integers(0, 9999), min_size=1, max_size=20))
def test_a_list_of_numbers_comes_back(numbers: list[int]) -> None:
    assert expand(f"n[{','.join(map(str, numbers))}]") == tuple(f"n{n}" for n in numbers)


@pytest.mark.parametrize(
    ("text", "counts"), [("4", (4,)), ("2(x3),1", (2, 2, 2, 1)), ("16,8(x2)", (16, 8, 8))]
)
def test_expand_counts(text: str, counts: tuple[int, ...]) -> None:
    assert expand_counts(text) == counts


@pytest.mark.parametrize("text", ["", "x", "2(x)", "2(3)"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="count per node"):
        expand_counts(text)
