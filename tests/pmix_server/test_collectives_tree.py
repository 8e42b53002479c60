"""The tree that a fence goes up and down."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmix_server.tree import place_in_tree

SIZES = st.integers(1, 300)
FANOUTS = st.integers(1, 12)


def subtree(position: int, size: int, fanout: int) -> list[int]:
    """Positions in the order in which data is concatenated on its way up."""
    children = place_in_tree(position, size, fanout).children
    return [position, *(node for child in children for node in subtree(child, size, fanout))]


@given(SIZES, st.integers(2, 12))
def test_data_arrives_at_the_root_once_and_in_node_order(size: int, fanout: int) -> None:
    assert subtree(0, size, fanout) == list(range(size))


@settings(deadline=None)
@given(SIZES, FANOUTS)
def test_parents_and_children_agree(size: int, fanout: int) -> None:
    places = [place_in_tree(position, size, fanout) for position in range(size)]
    for position, place in enumerate(places):
        assert len(place.children) <= fanout
        assert all(places[child].parent == position for child in place.children)
    assert [place.parent for place in places].count(None) == 1
    assert sum(len(place.children) for place in places) == size - 1


@given(st.integers(2, 5000), st.integers(2, 16), st.data())
def test_depth_grows_with_the_logarithm(size: int, fanout: int, data: st.DataObject) -> None:
    position: int | None = data.draw(st.integers(0, size - 1))
    depth = -1
    while position is not None:
        position = place_in_tree(position, size, fanout).parent
        depth += 1
    assert depth <= math.ceil(math.log(size, fanout))


@pytest.mark.parametrize(
    ("position", "size", "fanout"), [(3, 3, 2), (-1, 3, 2), (0, 0, 2), (0, 1, 0)]
)
def test_what_is_not_in_the_row_is_refused(position: int, size: int, fanout: int) -> None:
    with pytest.raises(ValueError, match="no position"):
        place_in_tree(position, size, fanout)
