"""Signals, cancelling, time limits and suspension do what they do without us."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from testbed import Cluster
from tests.e2e.conftest import Jobs, Running

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

MPI = ["init", "barrier", "ready"]


@pytest.fixture(autouse=True)
def clean(nothing_left: Callable[[], None]) -> object:
    yield
    nothing_left()


def begin(
    steps: Jobs, image: str, fault: str, *words: str, before: tuple[str, ...] = ()
) -> Running:
    srun = ["srun", "--mpi=pmix", "-N2", "-n4", "shim", "exec", image, fault]
    return steps.start([*srun, *before, *MPI, *words]).wait_for("ready")


def step_of(cluster: Cluster, job_id: str) -> str:
    listed = cluster.run(["squeue", "-s", "-h", "-o", "%i", "-j", job_id], check=True).stdout
    return next(step for step in listed.split() if step.split(".")[1].isdigit())


def test_sigterm_to_srun_ends_the_job_without_words_of_ours(
    steps: Jobs, image4: str, fault: str
) -> None:
    ended = begin(steps, image4, fault, "stop").signal(signal.SIGTERM).end()
    assert ended.said == []
    assert ended.rc != 0
    assert ended.elapsed < 10


def test_ctrl_c_twice_ends_the_job(steps: Jobs, image4: str, fault: str) -> None:
    running = begin(steps, image4, fault, "stop").signal(signal.SIGINT)
    time.sleep(0.3)
    ended = running.signal(signal.SIGINT).end()
    assert ended.said == []
    assert ended.elapsed < 10


def test_scancel_of_the_step(cluster: Cluster, steps: Jobs, image4: str, fault: str) -> None:
    running = begin(steps, image4, fault, "stop")
    step = step_of(cluster, steps.job_id)
    ended = running.fault(lambda: cluster.run(["scancel", step], check=True)).end()
    assert ended.said == []
    assert ended.elapsed < 10


def test_a_user_signal_reaches_the_ranks_and_only_them(
    cluster: Cluster, steps: Jobs, image4: str, fault: str
) -> None:
    running = begin(steps, image4, fault, "sleep:1", "barrier", "finalize", before=("count",))
    step = step_of(cluster, steps.job_id)
    cluster.run(["scancel", "-s", "USR1", step], check=True)
    ended = running.end()
    assert ended.out.count("signal") == 4
    assert (ended.rc, ended.said) == (0, [])


def test_a_stopped_step_goes_on(cluster: Cluster, steps: Jobs, image4: str, fault: str) -> None:
    running = begin(steps, image4, fault, "sleep:1", "barrier", "say:on", "finalize")
    step = step_of(cluster, steps.job_id)
    cluster.run(["scancel", "-s", "STOP", step], check=True)
    time.sleep(2)
    assert running.process.poll() is None
    cluster.run(["scancel", "-s", "CONT", step], check=True)
    ended = running.end()
    assert ended.out.count("on") == 4
    assert (ended.rc, ended.said) == (0, [])
