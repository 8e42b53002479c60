"""The end of a job before its time: once, with one sentence, whoever notices."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmix_server import Upstream, UpstreamJob
from shim.agent import ending as module
from shim.agent.ending import Ending
from shim.agent.life import RankTable
from shim.agent.links import Links
from shim.agent.voice import Voice
from tests.pmix_server.simulated_mesh import Network

PATIENCE = 0.05


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "patience", lambda status, cancelled: PATIENCE)
    monkeypatch.setattr(module, "OTHERS_TURN", PATIENCE)


@dataclass
class Node:
    """One agent as far as endings go: two ranks that have called PMIx_Init."""

    network: Network
    index: int
    said: list[str]
    ended: list[int] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        mesh = self.network.meshes[self.index]
        ranks = (2 * self.index, 2 * self.index + 1)
        self.table = RankTable(ranks)
        for rank in ranks:
            self.table.started(rank, 100 + rank)
            self.table.connected(rank)
        voice = Voice(self.said.append)
        voice.attach(mesh)
        self.ending = Ending(self.table, voice, self.end_ranks, self.spawn, lambda: None)
        upstream, job = cast(Upstream, None), cast(UpstreamJob, None)
        self.ending.attach(Links(upstream, job, mesh, "inner"))

    async def end_ranks(self, code: int, text: str, *, everywhere: bool) -> None:
        self.ended.append(code)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def dies(self, rank: int, status: int) -> None:
        if self.table.gone(100 + rank):
            self.ending.rank_died(rank, status, owed=True)
        if self.table.settled:
            self.ending.part_ended()


def play(
    seed: int, nodes: int, story: Callable[[Network, list[Node]], None]
) -> tuple[list[str], list[Node]]:
    """Let *story* happen, and then everything that follows from it."""
    said: list[str] = []

    async def run() -> list[Node]:
        network = Network(nodes, random.Random(seed))
        agents = [Node(network, index, said) for index in range(nodes)]
        story(network, agents)
        end = asyncio.get_running_loop().time() + 4 * PATIENCE
        while asyncio.get_running_loop().time() < end:
            network.step()
            await asyncio.sleep(0.0005)
        return agents

    return said, asyncio.run(run())


SEEDS = st.integers(0, 2**32)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 4), st.data())
def test_a_death_that_leaves_others_waiting_is_told_once_and_ends_all(
    seed: int, nodes: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, 2 * nodes - 1))
    said, agents = play(seed, nodes, lambda _, all_: all_[rank // 2].dies(rank, 9))
    assert len(said) == 1
    assert said[0].startswith(f"shim: Rank {rank} was killed by signal 9")
    assert [agent.ended for agent in agents] == [[137]] * nodes
    assert {agent.ending.code for agent in agents} == {137}


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(2, 4))
def test_a_death_in_every_node_is_told_once(seed: int, nodes: int) -> None:
    def story(_: Network, agents: list[Node]) -> None:
        for agent in agents:
            agent.dies(2 * agent.index, 5 << 8)

    said, agents = play(seed, nodes, story)
    assert len(said) == 1
    assert [agent.ended for agent in agents] == [[5]] * nodes


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_if_all_die_nobody_waits_and_nothing_is_to_be_said(seed: int, nodes: int) -> None:
    def story(_: Network, agents: list[Node]) -> None:
        for agent in agents:
            for rank in (2 * agent.index, 2 * agent.index + 1):
                agent.dies(rank, 1 << 8)

    said, agents = play(seed, nodes, story)
    assert said == []
    assert not any(agent.ending.begun for agent in agents)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(2, 4), st.data())
def test_a_lost_node_is_told_by_one_and_ends_all_others(
    seed: int, nodes: int, data: st.DataObject
) -> None:
    lost = data.draw(st.integers(0, nodes - 1))
    said, agents = play(seed, nodes, lambda network, _: network.switch_off(lost))
    assert len(said) == 1
    assert f"The agent of node n{lost} was lost (it was switched off)" in said[0]
    assert [agent.ended for agent in agents if agent.index != lost] == [[1]] * (nodes - 1)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(2, 4), st.data())
def test_a_node_whose_part_has_ended_may_go(seed: int, nodes: int, data: st.DataObject) -> None:
    gone = data.draw(st.integers(1, nodes - 1))

    def story(network: Network, agents: list[Node]) -> None:
        for rank in (2 * gone, 2 * gone + 1):
            agents[gone].table.finalized(rank)
            agents[gone].dies(rank, 0)
        while network.step():
            continue
        network.switch_off(gone)

    said, agents = play(seed, nodes, story)
    assert said == []
    assert not any(agent.ending.begun for agent in agents)
