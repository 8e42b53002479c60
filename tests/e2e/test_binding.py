"""What Slurm bound is what the rank gets, and OpenMP follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from testbed import Cluster
from tests.e2e.conftest import Jobs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SHOW = (
    "grep Cpus_allowed_list /proc/self/status; "
    "echo ${OMP_NUM_THREADS-no}:${OMP_PLACES-no}:${OMP_PROC_BIND-no}"
)


@pytest.fixture(autouse=True)
def clean(nothing_left: Callable[[], None]) -> object:
    yield
    nothing_left()


def seen(text: str) -> list[tuple[str, str]]:
    """(allowed CPUs, OpenMP variables) of each rank."""
    lines = text.split("\n")
    cpus = [line.split()[1] for line in lines if line.startswith("Cpus_allowed_list")]
    openmp = [line for line in lines if line.count(":") >= 2 and "Cpus" not in line]
    return sorted(zip(cpus, openmp, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        ["-n2"],
        ["-n2", "--cpu-bind=cores"],
        ["-n1", "-c2"],
        ["-n2", "--cpu-bind=map_cpu:1,0"],
        ["-n2", "--cpu-bind=mask_cpu:0x2,0x1"],
        ["-n1", "-c2", "--cpu-bind=mask_cpu:0x3"],
        ["-n2", "--cpu-bind=rank"],
    ],
    ids=" ".join,
)
def test_slurms_binding_is_kept(steps: Jobs, image4: str, options: list[str]) -> None:
    srun = ["srun", "--mpi=pmix", "-l", "-wn1", "-N1", *options]
    show = ["sh", "-c", "grep Cpus_allowed_list /proc/self/status"]
    native = steps.run([*srun, *show])
    ours = steps.run([*srun, "shim", "exec", image4, *show])
    assert (ours.rc, ours.said) == (0, [])
    assert sorted(ours.out.splitlines()) == sorted(native.out.splitlines())


def test_nothing_bound_means_equal_shares(steps: Jobs, image4: str) -> None:
    srun = ["srun", "--mpi=pmix", "-wn1", "-N1", "-n2", "--cpu-bind=none"]
    ended = steps.run([*srun, "shim", "exec", image4, "sh", "-c", SHOW])
    shares = [cpus for cpus, _ in seen(ended.out)]
    assert shares == ["0", "1"]


def test_nothing_bound_and_nothing_to_bind(steps: Jobs, image4: str) -> None:
    srun = ["srun", "--mpi=pmix", "-wn1", "-N1", "-n2", "--cpu-bind=none"]
    ended = steps.run([*srun, "shim", "exec", "--cpu-bind=none", image4, "sh", "-c", SHOW])
    assert len({cpus for cpus, _ in seen(ended.out)}) == 1


def test_openmp_follows_the_cpus(steps: Jobs, image4: str) -> None:
    srun = ["srun", "--mpi=pmix", "-wn1", "-N1"]
    one = steps.run([*srun, "-n2", "shim", "exec", image4, "sh", "-c", SHOW])
    assert sorted(openmp for _, openmp in seen(one.out)) == ["1:{0}:close", "1:{1}:close"]
    two = steps.run([*srun, "-n1", "-c2", "shim", "exec", image4, "sh", "-c", SHOW])
    assert [openmp for _, openmp in seen(two.out)] == ["2:{0},{1}:close"]


def test_the_users_openmp_variables_win(steps: Jobs, image4: str) -> None:
    srun = ["srun", "--mpi=pmix", "-wn1", "-N1", "-n1", "-c2"]
    env = {"OMP_NUM_THREADS": "1", "OMP_PLACES": "threads", "OMP_PROC_BIND": "spread"}
    ended = steps.run([*srun, "shim", "exec", image4, "sh", "-c", SHOW], env=env)
    assert seen(ended.out)[0][1] == "1:threads:spread"


def test_the_report_tells_plan_and_truth(
    cluster: Cluster, steps: Jobs, image4: str, fault: str
) -> None:
    srun = ["srun", "--mpi=pmix", "-N2", "-n4", "shim", "exec", "--report-bindings=report.json"]
    ended = steps.run([*srun, image4, fault, "init", "barrier", "finalize"])
    assert ended.rc == 0
    report: Any = json.loads((cluster.home() / "report.json").read_text())
    (cluster.home() / "report.json").unlink()
    ranks = report if isinstance(report, list) else report["ranks"]
    assert [rank["rank"] for rank in ranks] == [0, 1, 2, 3]
    assert [rank["node"] for rank in ranks] == ["n1", "n1", "n2", "n2"]
    assert all(rank["verdict"] == "ok" for rank in ranks)


def test_a_task_that_narrowed_itself_stays_so_and_it_is_said(steps: Jobs, image4: str) -> None:
    narrow = f"exec taskset -c 0 shim exec {image4} sh -c '{SHOW}'"
    srun = ["srun", "--mpi=pmix", "-wn1", "-N1", "-n1", "-c2"]
    ended = steps.run([*srun, "sh", "-c", narrow])
    assert [cpus for cpus, _ in seen(ended.out)] == ["0"]
    assert "was to run on CPUs 0-1 and runs on 0" in ended.sentence
