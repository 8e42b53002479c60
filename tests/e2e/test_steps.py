"""Steps beside and after one another, and steps that are not one MPI program."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from testbed import Cluster
from tests.e2e.conftest import Jobs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SRUN = ["srun", "--mpi=pmix", "-N2", "-n4"]
MPI = ["init", "barrier", "finalize"]


@pytest.fixture(autouse=True)
def clean(nothing_left: Callable[[], None]) -> object:
    yield
    nothing_left()


def shell(*lines: str) -> list[str]:
    return ["sh", "-c", "\n".join(lines)]


def test_two_steps_on_the_same_nodes(steps: Jobs, image4: str, image5: str, fault: str) -> None:
    both = [
        steps.start([*SRUN, "shim", "exec", image, fault, *MPI, f"say:{image}"])
        for image in (image4, image5)
    ]
    for image, running in zip((image4, image5), both, strict=True):
        ended = running.end()
        assert (ended.rc, ended.said) == (0, [])
        assert ended.out.count(image) == 4


def test_twenty_steps_in_a_row(steps: Jobs, image4: str, fault: str) -> None:
    srun = f"srun --jobid={steps.job_id} --overlap --mpi=pmix -n2 shim exec {image4} {fault}"
    ended = steps.run(shell("set -e", *[f"{srun} init barrier finalize say:done"] * 20))
    assert (ended.rc, ended.said) == (0, [])
    assert ended.out.count("done") == 40


def test_one_task_runs_several_programs(steps: Jobs, image4: str, fault: str) -> None:
    one = f"shim exec {image4} {fault}"
    lines = (
        f"{one} {' '.join(MPI)} say:first",
        f"{one} {' '.join(MPI)} say:second",
        f"{one} say:3",
    )
    ended = steps.run([*SRUN, *shell("set -e", *lines, f"{one} exit:0")])
    assert (ended.rc, ended.said) == (0, [])
    assert [ended.out.count(word) for word in ("first", "second")] == [4, 4]


def test_the_second_program_of_a_task_finds_the_container_running(steps: Jobs, image4: str) -> None:
    where = f"shim exec {image4} readlink /proc/self/ns/mnt"
    ended = steps.run(["srun", "--mpi=pmix", "-n1", *shell(where, "sleep 0.3", where)])
    first, second = ended.out.split()
    assert first == second


def test_the_second_program_of_a_task_may_fail(steps: Jobs, image4: str, fault: str) -> None:
    one = f"shim exec {image4} {fault}"
    lines = (f"{one} {' '.join(MPI)}", f"{one} init barrier kill:9@3 barrier")
    ended = steps.run([*SRUN, *shell("set -e", *lines)])
    assert ended.rc == 137
    assert "Rank 3 was killed by signal 9" in ended.sentence
    assert ended.elapsed < 10


@pytest.mark.parametrize("bind", [[], ["--cpu-bind=rank"]], ids=["masks known", "not known"])
def test_only_some_tasks_of_a_node_call_shim(steps: Jobs, image4: str, bind: list[str]) -> None:
    call = f'[ "$SLURM_PROCID" = 1 ] || exec shim exec {image4} sh -c "echo inside"'
    srun = ["srun", "--mpi=pmix", "-wn1", "-n2", *bind]
    ended = steps.run([*srun, *shell(call, "echo outside")])
    assert (ended.rc, ended.said) == (0, [])
    assert sorted(ended.out.split()) == ["inside", "outside"]
    assert ended.elapsed < 8


def test_a_node_where_no_task_calls_shim_is_named(steps: Jobs, image4: str) -> None:
    call = f"[ $SLURM_NODEID = 1 ] || exec shim exec --start-timeout=2 {image4} true"
    ended = steps.run([*SRUN, *shell(call)])
    assert ended.rc == 125
    assert "n2" in ended.sentence
    assert "--no-pmix" in ended.sentence
    assert ended.elapsed < 10


def test_multi_prog_with_two_images(cluster: Cluster, steps: Jobs, image4: str, fault: str) -> None:
    cluster.run(["cp", image4, "second.sif"], check=True)
    where = "echo $APPTAINER_CONTAINER"
    (cluster.home() / "programs").write_text(
        "".join(
            f"{rank} shim exec {image} sh -c '{where}; exec {fault} init barrier finalize'\n"
            for rank, image in enumerate([image4, "/home/demo/second.sif"] * 2)
        )
    )
    ended = steps.run([*SRUN, "--multi-prog", "/home/demo/programs"])
    cluster.run(["rm", "second.sif", "programs"], check=True)
    assert (ended.rc, ended.said) == (0, [])
    assert ended.out.count(image4) == ended.out.count("second.sif") == 2


@pytest.mark.parametrize("options", [["--no-pmix"], []], ids=["no-pmix", "pmix"])
def test_a_program_without_mpi(steps: Jobs, image4: str, options: list[str]) -> None:
    mpi = "--mpi=none" if options else "--mpi=pmix"
    srun = ["srun", mpi, "-N2", "-n4", "shim", "exec", *options, image4]
    ended = steps.run([*srun, "sh", "-c", "echo $SLURM_PROCID; exit $SLURM_PROCID"])
    assert sorted(ended.out.split()) == ["0", "1", "2", "3"]
    assert (ended.rc, ended.said) == (3, [])


def test_a_node_whose_ranks_end_early_takes_nobody_along(steps: Jobs, image4: str) -> None:
    wait = "[ $SLURM_NODEID = 0 ] || sleep 2; echo done"
    ended = steps.run([*SRUN, "shim", "exec", image4, "sh", "-c", wait])
    assert (ended.rc, ended.said) == (0, [])
    assert ended.out.count("done") == 4
