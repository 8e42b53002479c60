"""Other launchers than srun, and none."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import pytest

from testbed import Cluster
from tests.e2e.conftest import Jobs, kill

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

MPI = ["init", "barrier", "finalize"]
PRTERUN = ["prterun", "--map-by", "ppr:2:node", "-n", "2"]


@pytest.fixture(autouse=True)
def clean(nothing_left: Callable[[], None]) -> object:
    yield
    nothing_left()


def test_shim_run_on_one_machine(jobs: Jobs, image4: str, fault: str) -> None:
    ended = jobs.run(["shim", "run", "-n", "2", image4, fault, *MPI, "say:done"])
    assert (ended.rc, ended.said) == (0, [])
    assert ended.out.count("done") == 2


def test_its_exit_code(jobs: Jobs, image4: str, fault: str) -> None:
    ended = jobs.run(["shim", "run", "-n", "2", image4, fault, "init", "exit:4@1", "barrier"])
    assert ended.rc == 4
    assert ended.sentence.startswith("Rank 1 ended with exit code 4")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(jobs: Jobs, image4: str, fault: str, number: signal.Signals) -> None:
    words = ["init", "barrier", "ready", "stop"]
    running = jobs.start(["shim", "run", "-n", "2", image4, fault, *words]).wait_for("ready")
    ended = running.signal(number).end()
    assert (ended.rc, ended.said) == (128 + number, [])
    assert ended.elapsed < 5


def test_a_killed_agent(cluster: Cluster, jobs: Jobs, image4: str, fault: str) -> None:
    words = ["init", "barrier", "ready", "stop"]
    running = jobs.start(["shim", "run", "-n", "2", image4, fault, *words]).wait_for("ready")
    ended = running.fault(lambda: kill(cluster, "head", r"-m shim\.agent ")).end()
    assert ended.rc == 125
    assert "was killed by signal 9" in ended.sentence


def test_shim_exec_alone(jobs: Jobs, image4: str, fault: str) -> None:
    ended = jobs.run(["shim", "exec", image4, fault, *MPI, "say:done", "exit:6"])
    assert (ended.rc, ended.said) == (6, [])
    assert ended.out == "0 done\n"


def test_its_signal_and_its_input(jobs: Jobs, image4: str, fault: str) -> None:
    running = jobs.start(["shim", "exec", image4, fault, "ready", "stop"]).wait_for("ready")
    assert running.signal(signal.SIGTERM).end().rc == 143
    running = jobs.start(["shim", "exec", image4, "cat"], stdin=subprocess.PIPE)
    assert running.process.stdin
    running.process.stdin.write("hello\n")
    running.process.stdin.close()
    running.process.stdin = None
    assert running.end().out == "hello\n"


def test_prterun_starts_the_ranks(jobs: Jobs, image5: str, fault: str) -> None:
    ended = jobs.run([*PRTERUN, "shim", "exec", image5, fault, *MPI, "say:done"])
    assert (ended.rc, ended.said) == (0, [])
    assert ended.out.count("done") == 2


def test_a_rank_that_fails_under_prterun(jobs: Jobs, image5: str, fault: str) -> None:
    words = ["init", "barrier", "exit:5@1", "barrier"]
    ended = jobs.run([*PRTERUN, "shim", "exec", image5, fault, *words])
    assert ended.rc == 5
    assert len(ended.said) <= 1
    assert ended.elapsed < 10


def test_prterun_starts_shim_run(jobs: Jobs, image5: str, fault: str) -> None:
    once = ["prterun", "--map-by", "ppr:1:node", "--bind-to", "none", "-n", "1"]
    ended = jobs.run([*once, "shim", "run", "-n", "2", image5, fault, *MPI, "say:done"])
    assert (ended.rc, ended.said) == (0, [])
    assert ended.out.count("done") == 2


def test_salloc_and_sbatch(cluster: Cluster, jobs: Jobs, image4: str, fault: str) -> None:
    words = ["shim", "run", "-n", "4", image4, fault, *MPI, "say:done"]
    ended = jobs.run(["salloc", "-N2", "--exclusive", *words])
    assert (ended.rc, ended.said) == (0, [])
    assert ended.out.count("done") == 4
    script = f"#!/bin/sh\n{' '.join(words)}\nexit 3\n"
    (cluster.home() / "job.sh").write_text(script)
    ended = jobs.run(["sbatch", "--wait", "-N2", "--exclusive", "-o", "job.out", "job.sh"])
    assert ended.rc == 3
    assert (cluster.home() / "job.out").read_text().count("done") == 4
