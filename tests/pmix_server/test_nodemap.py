"""The launcher's nodes, rebuilt from what a client can read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pmix_server import NodeRanks
from pmix_server.upstream.nodemap import group, own_node

NAMES = st.lists(st.sampled_from(["n1", "n2", "n3"]), min_size=1, max_size=12)


@given(NAMES)
def test_every_rank_is_on_the_node_it_named(hostnames: list[str]) -> None:
    nodes = group(hostnames, ["n1", "n2", "n3"])
    assert {r: node.name for node in nodes for r in node.ranks} == dict(enumerate(hostnames))


def test_nodes_come_in_the_launchers_order() -> None:
    assert group(["b", "a", "b"], ["a", "b", "c"]) == (
        NodeRanks("a", (1,)),
        NodeRanks("b", (0, 2)),
    )


def test_without_a_list_nodes_come_in_the_order_of_ranks() -> None:
    assert group(["b", "a"], []) == (NodeRanks("b", (0,)), NodeRanks("a", (1,)))


class TestOwnName:
    """libpmix 5 gives gethostname() for the own rank, others get the launcher's name."""

    def test_a_neighbours_word_counts_most(self) -> None:
        assert own_node(["real-host", "n1", "n2"], 0, [0, 1], ["n1", "n2"], "") == "n1"

    def test_then_the_launchers_variable(self) -> None:
        assert own_node(["real-host", "n2"], 0, [0], ["n1", "n2", "n3"], "n1") == "n1"

    def test_then_the_one_node_that_is_left(self) -> None:
        assert own_node(["real-host", "n2"], 0, [0], ["n1", "n2"], "") == "n1"

    def test_a_name_that_is_listed_is_kept(self) -> None:
        assert own_node(["n1", "n2"], 0, [], ["n1", "n2"], "other") == "n1"
