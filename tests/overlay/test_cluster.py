"""Agents on nodes that have a network of their own: cables that are pulled, nodes that die."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Cluster
from testbed.process import NodeProcess

pytestmark = pytest.mark.cluster

AGENT = Path(__file__).with_name("node_agent.py")


@pytest.fixture
def endpoint(cluster: Cluster) -> Iterator[Path]:
    """A directory that both nodes see, for the head's endpoint (in a job: PMIx)."""
    directory = cluster.shared / "overlay-test"
    directory.mkdir()
    directory.chmod(0o777)
    shutil.copy(AGENT, directory)
    yield directory
    shutil.rmtree(directory)


def start(cluster: Cluster, node: str, index: int) -> NodeProcess:
    directory = "/shared/overlay-test"
    argv = ["python3", f"{directory}/node_agent.py", directory, str(index), *cluster.nodes[-2:]]
    return cluster.popen(argv, node=node, stdin=subprocess.PIPE)


def event(agent: NodeProcess, kind: str) -> dict[str, object]:
    """The next event of *kind* that the agent reports."""
    assert agent.stdout
    for line in agent.stdout:
        found: dict[str, object] = json.loads(line)
        if found["event"] == kind:
            return found
    raise AssertionError(f"the agent ended without {kind}: {agent.stderr and agent.stderr.read()}")


def end(*agents: NodeProcess) -> None:
    for agent in agents:
        assert agent.stdin
        agent.stdin.close()
        agent.wait(20)
        for stream in (agent.stdout, agent.stderr):
            assert stream
            stream.close()


@pytest.fixture
def pair(cluster: Cluster, endpoint: Path) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    """An agent on each of the two nodes, joined, with one fence behind them."""
    nodes = cluster.nodes[-2:]
    agents = (start(cluster, nodes[0], 0), start(cluster, nodes[1], 1))
    for agent in agents:
        event(agent, "joined")
        command(agent, "fence")
    for agent in agents:
        assert event(agent, "fence")["data"] == "01"
    yield agents
    end(*agents)


def command(agent: NodeProcess, text: str) -> None:
    assert agent.stdin
    agent.stdin.write(f"{text}\n")
    agent.stdin.flush()


def test_they_find_each_other_by_the_addresses_of_their_network(
    cluster: Cluster, pair: tuple[NodeProcess, NodeProcess]
) -> None:
    command(pair[0], "addresses")
    addresses = event(pair[0], "addresses")["addresses"]
    assert isinstance(addresses, list)
    assert addresses[0].startswith(f"tcp://{cluster.address(cluster.nodes[-2])}:")


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in the middle of a fence"])
def test_a_pulled_cable_is_noticed_on_both_sides_within_five_seconds(
    cluster: Cluster, pair: tuple[NodeProcess, NodeProcess], busy: bool
) -> None:
    node = cluster.nodes[-1]
    if busy:
        command(pair[0], "fence")
    time.sleep(0.3)
    cluster.set_link(node, False)
    cut = time.time()
    try:
        if busy:
            command(pair[1], "fence")  # its message leaves after the cut
        for agent in pair:
            lost = event(agent, "lost")
            assert float(str(lost["time"])) - cut < 5
            assert "does not answer" in str(lost["reason"]) or "reached" in str(lost["reason"])
            if busy:
                assert event(agent, "fence")["status"] == -61
    finally:
        cluster.set_link(node, True)


def test_a_cable_that_is_pulled_for_a_second_does_no_harm(
    cluster: Cluster, pair: tuple[NodeProcess, NodeProcess]
) -> None:
    node = cluster.nodes[-1]
    cluster.set_link(node, False)
    command(pair[1], "fence")
    time.sleep(1)
    cluster.set_link(node, True)
    command(pair[0], "fence")
    for agent in pair:
        assert event(agent, "fence")["data"] == "01"


def test_an_agent_that_is_killed_is_noticed_within_a_second(
    cluster: Cluster, pair: tuple[NodeProcess, NodeProcess]
) -> None:
    command(pair[0], "fence")
    time.sleep(0.3)
    killed = time.time()
    kill_agents(cluster, cluster.nodes[-1])
    lost = event(pair[0], "lost")
    assert float(str(lost["time"])) - killed < 1
    assert lost["reason"] == "its agent ended without leaving"
    assert event(pair[0], "fence")["status"] == -61


def kill_agents(cluster: Cluster, node: str) -> None:
    cluster.run(["pkill", "-KILL", "-f", "node_agent.py"], node=node, user="root")
