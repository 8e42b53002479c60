"""CpuSet: an immutable set of CPU numbers that reads and writes what the kernel and Slurm do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpusets import CpuListError, CpuSet

members = st.frozensets(st.integers(0, 4096), max_size=40)


@given(members)
def test_every_notation_reads_back_as_the_same_set(cpus: frozenset[int]) -> None:
    cpuset = CpuSet.of(cpus)
    assert CpuSet.parse(str(cpuset)) == cpuset
    assert CpuSet.parse_mask(cpuset.hex_mask()) == cpuset
    assert CpuSet.from_bytes(cpuset.to_bytes()) == cpuset
    assert list(cpuset) == sorted(cpus)
    assert len(cpuset) == len(cpus)
    assert bool(cpuset) == bool(cpus)


@given(members, members)
def test_it_computes_as_python_sets_do(a: frozenset[int], b: frozenset[int]) -> None:
    left, right = CpuSet.of(a), CpuSet.of(b)
    assert set(left | right) == a | b
    assert set(left & right) == a & b
    assert set(left - right) == a - b
    assert (left <= right) == (a <= b)
    assert (left < right) == (a < b)
    assert left.isdisjoint(right) == a.isdisjoint(b)
    assert (left == right) == (a == b)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("0-3,8", [0, 1, 2, 3, 8]),
        ("0-6:2", [0, 2, 4, 6]),
        (" 1 , 3 ", [1, 3]),
        ("2047", [2047]),
    ],
)
def test_kernel_lists_are_read(text: str, expected: list[int]) -> None:
    assert list(CpuSet.parse(text)) == expected


@pytest.mark.parametrize("text", ["a", "3-1", "0-", "-1", "0-4:0", "1;2", "99999999999", "0x3"])
def test_what_is_no_list_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(CpuListError) as caught:
        CpuSet.parse(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


def test_the_kernels_mask_of_more_than_1024_cpus_is_read() -> None:
    assert list(CpuSet.parse_mask("1," + ",".join(["00000000"] * 40))) == [1280]
    assert list(CpuSet.parse_mask("ff,1")) == [0, *range(32, 40)]


@pytest.mark.parametrize("text", ["", "0x", "xyz", "ff,,1", "-ff"])
def test_what_is_no_mask_is_refused(text: str) -> None:
    with pytest.raises(CpuListError):
        CpuSet.parse_mask(text)


def test_a_mask_has_whole_words_and_is_not_cut() -> None:
    assert len(CpuSet.of([0]).to_bytes()) == 8
    assert len(CpuSet.of([64]).to_bytes()) == 16
    assert CpuSet.of([1]).to_bytes(size=16) == b"\x02" + bytes(15)
    with pytest.raises(CpuListError):
        CpuSet.of([64]).to_bytes(size=8)
