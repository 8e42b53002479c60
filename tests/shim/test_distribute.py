"""Ranks over nodes: numbered invariants.

D1 every rank 0…N-1 is placed exactly once, in order;
D2 no node takes more than its slots, or than --ppn, unless oversubscription was asked for;
D3 a node gets ranks only when all nodes before it are full;
D4 what does not fit is refused, and the sentence says how many would fit.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.errors import ShimError
from shim.run.distribute import NodeSlots, distribute

slot_lists = st.lists(st.integers(0, 16), min_size=1, max_size=8)


def nodes(slots: list[int]) -> list[NodeSlots]:
    return [NodeSlots(f"n{at}", count) for at, count in enumerate(slots)]


@given(slot_lists, st.integers(1, 64), st.none() | st.integers(1, 20))
def test_d1_d2_d3_d4(slots: list[int], ranks: int, per_node: int | None) -> None:
    limits = [count if per_node is None else min(count, per_node) for count in slots]
    if sum(limits) < ranks:
        with pytest.raises(ShimError, match=f"can take {sum(limits)}"):  # D4
            distribute(ranks, nodes(slots), per_node=per_node)
        return
    blocks = distribute(ranks, nodes(slots), per_node=per_node)
    assert [rank for block in blocks for rank in block] == list(range(ranks))  # D1
    assert all(len(block) <= limit for block, limit in zip(blocks, limits, strict=True))  # D2
    last = max(at for at, block in enumerate(blocks) if block)
    assert all(len(blocks[at]) == limits[at] for at in range(last))  # D3


@given(slot_lists, st.integers(1, 64))
def test_d1_holds_with_oversubscription(slots: list[int], ranks: int) -> None:
    blocks = distribute(ranks, nodes(slots), oversubscribe=True)
    assert [rank for block in blocks for rank in block] == list(range(ranks))


@pytest.mark.parametrize(("ranks", "per_node"), [(0, None), (-1, None), (2, 0)])
def test_numbers_below_one_are_refused(ranks: int, per_node: int | None) -> None:
    with pytest.raises(ShimError, match=r"at least 1|Cannot"):
        distribute(ranks, nodes([4]), per_node=per_node)
