"""`shim run` in an allocation: we map and start the ranks, and end them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from testbed import Cluster
from tests.e2e.conftest import Ended, Jobs, Running, kill, kill_parent

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

MPI = ["init", "barrier"]


@pytest.fixture(autouse=True)
def clean(nothing_left: Callable[[], None]) -> object:
    yield
    nothing_left()


def start(steps: Jobs, *words: str, **options: Any) -> Running:
    """As in a job script: what salloc and sbatch set is there."""
    env = {
        "SLURM_JOB_ID": steps.job_id,
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_NTASKS": "1",
        "SLURM_JOB_NUM_NODES": "2",
    }
    return steps.start(["shim", "run", *words], env=env, **options)


def run(steps: Jobs, *words: str, **options: Any) -> Ended:
    return start(steps, *words, **options).end()


def test_all_is_well(steps: Jobs, image4: str, fault: str) -> None:
    ended = run(steps, "-n", "4", image4, fault, *MPI, "finalize", "say:done")
    assert (ended.rc, ended.said) == (0, [])
    assert sorted(ended.out.split("\n")[:-1]) == [f"{rank} done" for rank in range(4)]


@pytest.mark.parametrize(
    ("words", "code", "how"),
    [
        (["exit:3@2"], 3, "Rank 2 ended with exit code 3"),
        ([*MPI, "exit:5@3", "barrier"], 5, "Rank 3 ended with exit code 5"),
        ([*MPI, "kill:9@3", "barrier"], 137, "Rank 3 was killed by signal 9 (Killed)"),
        ([*MPI, "exit:0@1", "barrier"], 1, "Rank 1 ended with exit code 0"),
    ],
    ids=["exit", "exit in MPI", "killed in MPI", "no finalize"],
)
def test_a_rank_that_fails_ends_the_job(
    steps: Jobs, image4: str, fault: str, words: list[str], code: int, how: str
) -> None:
    ended = run(steps, "-n", "4", image4, fault, *words)
    assert ended.rc == code
    assert ended.sentence.startswith(how)
    assert ended.elapsed < 10


def test_mpi_abort(steps: Jobs, image5: str, fault: str) -> None:
    ended = run(steps, "-n", "4", image5, fault, *MPI, "abort:7@1", "barrier")
    assert (ended.rc, ended.said) == (7, [])
    assert ended.elapsed < 10


def test_native_and_contained_ranks_in_one_job(steps: Jobs, image5: str, fault: str) -> None:
    words = [fault, *MPI, "finalize"]
    inside = ["-n", "3", image5, *words, "say:in"]
    outside = ["-n", "1", "--native", *words, "say:out"]
    ended = run(steps, *inside, ":", *outside)
    assert (ended.rc, ended.said) == (0, [])
    assert sorted(ended.out.splitlines()) == ["0 in", "1 in", "2 in", "3 out"]


def test_standard_input_is_rank_zeros(steps: Jobs, image4: str, fault: str) -> None:
    running = start(steps, "-n", "4", image4, fault, *MPI, "input", stdin=subprocess.PIPE)
    assert running.process.stdin
    running.process.stdin.write("one\ntwo\n")
    running.process.stdin.close()
    running.process.stdin = None
    ended = running.end()
    assert ended.out.splitlines() == ["0 read one", "0 read two"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_job(
    steps: Jobs, image4: str, fault: str, number: signal.Signals
) -> None:
    running = start(steps, "-n", "4", image4, fault, *MPI, "ready", "stop").wait_for("ready")
    running.signal(number)
    if number is signal.SIGINT and running.process.poll() is None:
        time.sleep(0.3)
        running.signal(number)  # srun asks for two within a second
    ended = running.end()
    assert ended.rc != 0
    assert ended.said == []
    assert ended.elapsed < 10


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_a_killed_agent(cluster: Cluster, steps: Jobs, image4: str, fault: str, node: str) -> None:
    running = start(steps, "-n", "4", image4, fault, *MPI, "ready", "stop").wait_for("ready")
    ended = running.fault(lambda: kill(cluster, node, r"-m shim\.agent ")).end()
    assert ended.rc != 0
    assert f"on node {node} was killed by signal 9" in ended.sentence
    assert ended.elapsed < 10


def test_a_killed_guard_which_is_the_task(
    cluster: Cluster, steps: Jobs, image4: str, fault: str
) -> None:
    running = start(steps, "-n", "4", image4, fault, *MPI, "ready", "stop").wait_for("ready")
    agents = [pid for pid, line in cluster.node_pids("n2").items() if "-m shim.agent " in line]
    ended = running.fault(lambda: kill_parent(agents[0])).end()
    assert ended.rc != 0
    assert len(ended.said) <= 1
    assert ended.elapsed < 10


def test_a_killed_file_system_of_the_container(
    cluster: Cluster, steps: Jobs, image4: str, fault: str
) -> None:
    running = start(steps, "-n", "4", image4, fault, *MPI, "ready", "stop").wait_for("ready")
    ended = running.fault(lambda: kill(cluster, "n2", "squashfuse")).end()
    assert ended.rc != 0
    assert "The server of the container's file system" in ended.sentence
    assert ended.elapsed < 10


def test_a_missing_image_is_told_once(steps: Jobs) -> None:
    ended = run(steps, "-n", "4", "/shared/none.sif", "true")
    assert ended.rc == 125
    assert "/shared/none.sif" in ended.sentence
    assert ended.elapsed < 10
