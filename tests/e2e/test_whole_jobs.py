"""What Slurm does to a whole job: suspension, time limits, scancel."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from testbed import Cluster
from tests.e2e.conftest import Jobs, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

MPI = ["init", "barrier", "ready"]


@pytest.fixture(autouse=True)
def clean(nothing_left: Callable[[], None]) -> object:
    yield
    nothing_left()


def test_a_suspended_job_goes_on(cluster: Cluster, jobs: Jobs, image4: str, fault: str) -> None:
    srun = ["srun", "-Jsuspended", "--mpi=pmix", "-N2", "-n4", "shim", "exec", image4, fault]
    running = jobs.start([*srun, *MPI, "sleep:1", "barrier", "say:on", "finalize"])
    running.wait_for("ready")
    job = cluster.run(["squeue", "-h", "-o", "%i", "-n", "suspended"], check=True).stdout.strip()
    cluster.run(["scontrol", "suspend", job], user="root", check=True)
    # Longer than agents wait for each other: all of them stand still.
    time.sleep(7)
    cluster.run(["scontrol", "resume", job], user="root", check=True)
    ended = running.end()
    assert ended.out.count("on") == 4
    assert (ended.rc, ended.said) == (0, [])


def test_a_time_limit_with_a_signal_before_it(jobs: Jobs, image4: str, fault: str) -> None:
    # Slurm counts in minutes, and looks every half a minute (slurmctld, job_time_limit). Its signal
    # may come a minute before the limit, that is, at its first look.
    srun = ["srun", "-t1", "--signal=USR1@60", "--mpi=pmix", "-N2", "-n4"]
    words = ["count", "init", "barrier", "ready", "counted:50", "barrier", "finalize"]
    ended = jobs.run([*srun, "shim", "exec", image4, fault, *words])
    assert (ended.rc, ended.said) == (0, [])
    assert ended.out.count("signal") == 4


def test_scancel_of_the_job(cluster: Cluster, jobs: Jobs, image4: str, fault: str) -> None:
    srun = ["srun", "--mpi=pmix", "-N2", "-n4", "shim", "exec", image4, fault]
    running = jobs.start([*srun, *MPI, "stop"]).wait_for("ready")
    assert eventually(lambda: cluster.run(["squeue", "-h"]).stdout)
    ended = running.fault(lambda: cluster.run(["scancel", "-u", "demo"], check=True)).end()
    assert ended.said == []
    assert ended.elapsed < 10


def test_a_program_that_cleans_up_at_sigterm_gets_its_second(
    cluster: Cluster, jobs: Jobs, image4: str, fault: str
) -> None:
    # One rank does not, and dies at once: that must not cost the others their time.
    srun = ["srun", "--mpi=pmix", "-N2", "-n4", "shim", "exec", image4, fault]
    running = jobs.start([*srun, "trap:1@0", "trap:1@1", "trap:1@2", *MPI, "stop"])
    running.wait_for("ready")
    ended = running.fault(lambda: cluster.run(["scancel", "-u", "demo"], check=True)).end()
    assert ended.out.count("cleaned") == 3
    assert ended.said == []
    assert 1 <= ended.elapsed < 10


def test_two_users_on_one_node(cluster: Cluster, jobs: Jobs, image4: str, fault: str) -> None:
    # Either leaves one CPU of the node to the other.
    srun = ["srun", "--mpi=pmix", "-wn1", "-n1", "shim", "exec", "--bind=/home/demo", image4, fault]
    words = [*srun, "init", "ready", "sleep:1", "finalize", "say:done"]
    cluster.run(["chmod", "755", "/home/demo"], check=True)
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda user: jobs.run(words, user=user), ("demo", "other")))
    for one in ended:
        assert (one.rc, one.said) == (0, [])
        assert "done" in one.out


@pytest.mark.parametrize("name", ["a b;c/..", "$(reboot)'\"", "é\t%s"])
def test_strange_job_names(jobs: Jobs, image4: str, fault: str, name: str) -> None:
    srun = ["srun", "--mpi=pmix", "-J", name, "-N2", "-n4"]
    ended = jobs.run([*srun, "shim", "exec", image4, fault, "init", "barrier", "finalize"])
    assert (ended.rc, ended.said) == (0, [])
