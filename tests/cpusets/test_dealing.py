"""Ranks over nodes: what holds for every division.

- every rank 0…N-1 is dealt exactly once;
- no node gets more than `--ppn`, or than its places of `ppr`, and nodes are then filled in turn;
- without a limit, a node with more cores has no fewer ranks than one with less;
- what does not fit is refused, and the sentence says how many would fit.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpusets import CpusetsError, NodeRequest
from cpusets.axes import MapBy, RankBy
from cpusets.dealing import Capacity, deal, every_place


def node(cores: int, gpus: int = 0, places: int = 0) -> Capacity:
    return Capacity(cpus=2 * cores, cores=cores, gpus=gpus, places=places)


NODES = st.lists(st.integers(1, 16).map(node), min_size=1, max_size=8)
ANY = NodeRequest(ranks=())


@given(NODES, st.integers(1, 64), st.sampled_from([None, RankBy.NODE]))
def test_ranks_are_dealt_once_and_in_proportion(
    nodes: list[Capacity], ranks: int, order: RankBy | None
) -> None:
    numbers = deal(nodes, ranks, NodeRequest(ranks=(), rank_by=order))
    assert sorted(rank for mine in numbers for rank in mine) == list(range(ranks))
    by_size = sorted(zip(nodes, numbers, strict=True), key=lambda pair: pair[0].cores)
    for (less, few), (more, many) in pairwise(by_size):
        assert less.cores == more.cores or len(few) <= len(many)


@given(NODES, st.integers(1, 64), st.integers(1, 20))
def test_a_limit_fills_nodes_in_turn(nodes: list[Capacity], ranks: int, limit: int) -> None:
    if ranks > limit * len(nodes):
        with pytest.raises(CpusetsError, match="do not fit") as refused:
            deal(nodes, ranks, ANY, limit)
        assert str(limit * len(nodes)) in str(refused.value.hint)
        return
    numbers = deal(nodes, ranks, ANY, limit)
    assert [rank for mine in numbers for rank in mine] == list(range(ranks))
    last = max(at for at, mine in enumerate(numbers) if mine)
    assert all(len(mine) == limit for mine in numbers[:last])


def test_gpus_are_what_ranks_with_gpus_follow() -> None:
    request = NodeRequest(ranks=(), gpus_per_rank=1)
    assert deal([node(8, gpus=1), node(8, gpus=3)], 4, request) == [(0,), (1, 2, 3)]


def test_dealt_by_node_ranks_take_turns() -> None:
    request = NodeRequest(ranks=(), map_by=MapBy("node"))
    assert deal([node(4), node(4)], 5, request) == [(0, 2, 4), (1, 3)]


@pytest.mark.parametrize(
    ("request_", "per_node", "ranks"),
    [
        (ANY, None, 12),
        (ANY, 3, 6),
        (NodeRequest(ranks=(), threads=4), None, 3),
        (NodeRequest(ranks=(), threads=4, smt=2), None, 6),
        (NodeRequest(ranks=(), cpus_per_rank=3), None, 3),
        (NodeRequest(ranks=(), gpus_per_rank=Fraction(1, 2)), None, 8),
        (NodeRequest(ranks=(), map_by=MapBy("ppr", per=1, over="numa")), None, 2),
    ],
)
def test_how_many_ranks_fill_the_nodes(
    request_: NodeRequest, per_node: int | None, ranks: int
) -> None:
    places = 1 if request_.map_by else 0
    assert every_place([node(8, 2, places), node(4, 2, places)], request_, per_node) == ranks


def test_nothing_is_no_job() -> None:
    for ranks, per_node in ((0, None), (2, 0)):
        with pytest.raises(CpusetsError, match="no job"):
            deal([node(4)], ranks, ANY, per_node)
