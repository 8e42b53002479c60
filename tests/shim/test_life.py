"""The states of a node's ranks."""

from __future__ import annotations

from shim.agent.life import RankState, RankTable


def table() -> RankTable:
    return RankTable([4, 5])


def test_a_rank_that_finalized_may_go() -> None:
    ranks = table()
    ranks.started(4, 100)
    ranks.connected(4)
    ranks.finalized(4)
    assert ranks.gone(100) is False


def test_a_rank_that_dies_connected_owes_the_others() -> None:
    ranks = table()
    ranks.started(4, 100)
    ranks.connected(4)
    assert ranks.gone(100) is True


def test_a_program_without_pmix_owes_nobody() -> None:
    ranks = table()
    ranks.started(4, 100)
    assert ranks.gone(100) is False


def test_missing_present_and_gone() -> None:
    ranks = table()
    assert ranks.missing() == (4, 5)
    ranks.started(4, 100)
    assert (ranks.missing(), ranks.present, ranks.rank_of(100)) == ((5,), True, 4)
    ranks.gone(100)
    assert (ranks.present, ranks.all_gone, ranks.rank_of(100)) == (False, False, None)
    ranks.started(5, 101)
    ranks.gone(101)
    assert ranks.all_gone


def test_settled_only_when_nobody_will_need_pmix_any_more() -> None:
    ranks = table()
    for rank, pid in ((4, 100), (5, 101)):
        ranks.started(rank, pid)
        ranks.connected(rank)
    ranks.finalized(4)
    assert not ranks.settled
    ranks.gone(101)
    assert ranks.settled


def test_a_task_may_run_a_second_program() -> None:
    ranks = table()
    ranks.started(4, 100)
    ranks.gone(100)
    ranks.started(4, 102)
    assert ranks.state(4) is RankState.RUNNING
    assert not ranks.all_gone


def test_a_task_may_run_two_programs_at_once() -> None:
    ranks = table()
    ranks.started(4, 100)
    ranks.started(4, 101)
    ranks.connected(4)
    assert ranks.gone(100) is False
    assert ranks.state(4) is RankState.CONNECTED
    assert ranks.gone(101) is True
