"""Nodes and networks that fail under a job: on a cluster of its own, as dead nodes stay dead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed import Cluster
from testbed.progress import plain
from tests.e2e.conftest import Jobs, Running, build_fault, eventually, get_image

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def fragile(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster whose Slurm notices a dead slurmd soon."""
    name = f"{cluster.name}-nodes"
    conf = ["SlurmdTimeout=8", "MessageTimeout=4", "KillWait=2"]
    up = Cluster.up(name, nodes=2, slurm_conf=conf, replace_other=True, steps=plain)
    yield up
    up.down()


@pytest.fixture(scope="module")
def image(fragile: Cluster) -> str:
    return get_image(fragile, "openmpi-4.1")


@pytest.fixture(scope="module")
def program(fragile: Cluster, image: str) -> str:
    return build_fault(fragile, image)


def begin(cluster: Cluster, image: str, program: str) -> Running:
    srun = ["srun", "--mpi=pmix", "-N2", "-n4", "shim", "exec", image, program]
    words = ["init", "barrier", "ready", "barrier@0", "barrier@1", "stop"]
    return Jobs(cluster).start([*srun, *words]).wait_for("ready")


def has_left(cluster: Cluster, node: str) -> bool:
    return any(process.node == node for process in cluster.leftovers("demo").processes)


def test_a_pulled_cable(fragile: Cluster, image: str, program: str) -> None:
    running = begin(fragile, image, program)
    try:
        running.fault(lambda: fragile.set_link("n2", False))
        # Our agents end their own ranks on both sides, whatever Slurm can still reach.
        assert eventually(lambda: not has_left(fragile, "n1"), 12)
        assert eventually(lambda: not has_left(fragile, "n2"), 12)
    finally:
        fragile.set_link("n2", True)
    ended = running.end()
    assert ended.rc != 0
    assert "The agent of node n2 was lost" in ended.said[0]


def test_a_dead_slurmd_is_slurms_to_notice(fragile: Cluster, image: str, program: str) -> None:
    assert eventually(lambda: not fragile.run(["squeue", "-h"]).stdout, 40)
    running = begin(fragile, image, program)
    try:
        ended = running.fault(lambda: fragile.stop_slurmd("n2")).end()
    finally:
        fragile.start_slurmd("n2")
    assert ended.rc != 0
    assert ended.said == []
    assert eventually(lambda: not has_left(fragile, "n1"), 10)


def test_a_node_that_loses_power(fragile: Cluster, image: str, program: str) -> None:
    assert eventually(lambda: not fragile.run(["squeue", "-h"]).stdout, 40)
    running = begin(fragile, image, program)
    running.fault(lambda: fragile.kill_node("n2"))
    assert eventually(lambda: not has_left(fragile, "n1"), 10)
    ended = running.end()
    assert ended.rc != 0
    assert "The agent of node n2 was lost" in ended.sentence
