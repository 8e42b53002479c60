"""Whatever of ours dies: the job ends soon, one sentence says why, and nothing is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from testbed import Cluster
from tests.e2e.conftest import Jobs, Running, kill, kill_parent

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

AGENT = r"-m shim\.agent "
KEEPER = r"^(/proc/self/fd/\d+|.*shim) _hold"
RUNTIME = r"^(Apptainer runtime parent|.*starter)"
SQUASHFUSE = r"squashfuse"


@pytest.fixture(autouse=True)
def clean(nothing_left: Callable[[], None]) -> object:
    yield
    nothing_left()


def begin(steps: Jobs, image: str, fault: str, *extra: str) -> Running:
    srun = ["srun", "--mpi=pmix", "-N2", "-n4", *extra, "shim", "exec", image, fault]
    return steps.start([*srun, "init", "barrier", "ready", "stop"]).wait_for("ready")


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_a_killed_agent(cluster: Cluster, steps: Jobs, image4: str, fault: str, node: str) -> None:
    running = begin(steps, image4, fault)
    ended = running.fault(lambda: kill(cluster, node, AGENT)).end()
    assert ended.rc != 0
    assert f"on node {node} was killed by signal 9" in ended.sentence
    assert ended.elapsed < 10


def test_a_killed_guard(cluster: Cluster, steps: Jobs, image4: str, fault: str) -> None:
    running = begin(steps, image4, fault)
    agents = [pid for pid, line in cluster.node_pids("n2").items() if "-m shim.agent " in line]
    ended = running.fault(lambda: kill_parent(agents[0])).end()
    assert ended.rc != 0
    assert "guard of this node was killed" in ended.sentence
    assert ended.elapsed < 10


def test_the_rank_that_started_the_agent_is_killed(
    cluster: Cluster, steps: Jobs, image4: str, fault: str
) -> None:
    running = begin(steps, image4, fault)
    ended = running.fault(lambda: kill(cluster, "n1", rf"^{fault} init")).end()
    assert ended.rc == 137
    assert "was killed by signal 9 (Killed)" in ended.sentence
    assert ended.elapsed < 10


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (KEEPER, "The process that keeps the container ended"),
        (RUNTIME, "The container runtime ended"),
        (SQUASHFUSE, "The server of the container's file system (squashfuse"),
    ],
    ids=["keeper", "runtime", "squashfuse"],
)
def test_a_part_of_the_container_is_killed(
    cluster: Cluster, steps: Jobs, image4: str, fault: str, program: str, words: str
) -> None:
    running = begin(steps, image4, fault)
    hit: list[int] = []
    ended = running.fault(lambda: hit.append(kill(cluster, "n2", program))).end()
    assert hit[0] >= 1
    assert ended.rc != 0
    assert words in ended.sentence
    assert ended.elapsed < 10


def test_an_image_that_is_truncated_while_it_is_used(
    cluster: Cluster, steps: Jobs, image4: str, fault: str
) -> None:
    cluster.run(["cp", image4, "short.sif"], check=True)
    cluster.run(["chmod", "u+w", "short.sif"], check=True)
    running = begin(steps, "/home/demo/short.sif", fault)
    os.truncate(cluster.home() / "short.sif", 4096)
    # What is in memory already goes on; the job can be ended as ever.
    assert running.signal(signal.SIGTERM).end().elapsed < 10
    (cluster.home() / "short.sif").unlink()


def test_an_image_that_vanishes_while_it_is_used(
    cluster: Cluster, steps: Jobs, image4: str, fault: str
) -> None:
    cluster.run(["cp", image4, "gone.sif"], check=True)
    srun = ["srun", "--mpi=pmix", "-N2", "-n4", "shim", "exec", "/home/demo/gone.sif", fault]
    words = ["init", "barrier", "ready", "sleep:1", "barrier", "finalize"]
    running = steps.start([*srun, *words]).wait_for("ready")
    (cluster.home() / "gone.sif").unlink()
    ended = running.end()
    # A file that is open stays until it is closed (unlink(2)).
    assert (ended.rc, ended.said) == (0, [])


@pytest.fixture
def full_disk(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Call it, and /mnt of every node is a full file system; gives its path."""

    def fill() -> str:
        for node in cluster.nodes:
            make = "mount -t tmpfs -o size=64k,mode=1777 none /mnt; cat /dev/zero >/mnt/full; true"
            cluster.run(["sh", "-c", make], node=node, user="root", check=True)
        return "/mnt"

    yield fill
    for node in cluster.nodes:
        cluster.run(["umount", "-l", "/mnt"], node=node, user="root", check=True)


def test_no_room_for_our_files(
    steps: Jobs, image4: str, fault: str, full_disk: Callable[[], str]
) -> None:
    srun = ["srun", "--mpi=pmix", "-N2", "-n4", "shim", "exec", image4, fault]
    env = {"SHIM_RUNTIME_DIR": full_disk()}
    ended = steps.run([*srun, "init", "barrier", "finalize"], env=env)
    assert (ended.rc, ended.said) == (0, [])


def test_tmp_becomes_full(cluster: Cluster, steps: Jobs, image4: str, fault: str) -> None:
    srun = ["srun", "--mpi=pmix", "-N2", "-n4", "shim", "exec", image4, fault]
    running = steps.start([*srun, "ready", "sleep:2", "init", "barrier", "finalize"])
    running.wait_for("ready")
    try:
        cluster.run(["mount", "-o", "remount,size=1m", "/tmp"], node="n2", user="root", check=True)
        fill = "cat /dev/zero >/tmp/full; true"
        cluster.run(["sh", "-c", fill], node="n2", user="root", check=True)
        ended = running.end()
    finally:
        cluster.run(["rm", "-f", "/tmp/full"], node="n2", user="root", check=True)
        cluster.run(["mount", "-o", "remount,size=50%", "/tmp"], node="n2", user="root", check=True)
    assert (ended.rc, ended.said) == (0, [])
