"""What users get wrong on the way through launcher and nodes: one sentence, and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from testbed import Cluster
from tests.e2e.conftest import Jobs, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SRUN = ["srun", "--mpi=pmix", "-N2", "-n4"]
MPI = ["init", "barrier", "finalize"]


@pytest.fixture(autouse=True)
def clean(nothing_left: Callable[[], None]) -> object:
    yield
    nothing_left()


def test_several_tasks_and_no_pmix(steps: Jobs, image4: str) -> None:
    ended = steps.run(["srun", "--mpi=none", "-N2", "-n4", "shim", "exec", image4, "true"])
    assert ended.rc == 125
    assert set(ended.said) == {ended.said[0]}
    assert "--mpi=pmix" in ended.said[0]


@pytest.mark.parametrize("where", ["everywhere", "on one node"])
def test_a_missing_image(
    cluster: Cluster, steps: Jobs, image4: str, fault: str, where: str
) -> None:
    if where == "on one node":
        cluster.run(["ln", "-s", image4, "/tmp/here.sif"], node="n1", check=True)
    ended = steps.run([*SRUN, "shim", "exec", "/tmp/here.sif", fault, *MPI])
    cluster.run(["rm", "-f", "/tmp/here.sif"], node="n1", check=True)
    assert ended.rc == 125
    assert "/tmp/here.sif" in ended.sentence
    assert ended.elapsed < 10


@pytest.mark.parametrize(
    ("program", "code"), [("/no/such/program", 127), ("/etc/passwd", 126)], ids=["none", "no x"]
)
def test_a_program_that_cannot_be_executed(
    steps: Jobs, image4: str, program: str, code: int
) -> None:
    ended = steps.run(["srun", "--mpi=pmix", "-wn1", "-n2", "shim", "exec", image4, program])
    assert ended.rc == code
    assert program in ended.sentence


def test_a_megabyte_of_environment(steps: Jobs, image4: str) -> None:
    # 128 KiB is the kernel's limit for one string (execve(2)).
    env = {f"LARGE{number}": "x" * 100_000 for number in range(10)}
    count = "env | grep ^LARGE | wc -c"
    ended = steps.run([*SRUN, "shim", "exec", image4, "sh", "-c", count], env=env)
    assert (ended.rc, ended.said) == (0, [])
    assert ended.out.split() == ["1000080"] * 4


def test_long_paths(cluster: Cluster, steps: Jobs, image4: str, fault: str) -> None:
    deep = "/home/demo/" + "/".join(["d" * 60] * 8)
    cluster.run(["sh", "-c", f"mkdir -p {deep} && cp {image4} {deep}/image.sif"], check=True)
    ended = steps.run([*SRUN, "shim", "exec", f"{deep}/image.sif", fault, *MPI], cwd=deep)
    cluster.run(["rm", "-rf", "/home/demo/" + "d" * 60], check=True)
    assert (ended.rc, ended.said) == (0, [])


def test_a_long_runtime_directory(cluster: Cluster, steps: Jobs, image4: str, fault: str) -> None:
    # Longer than the address of a unix socket may be (unix(7)).
    deep = "/home/demo/" + "/".join(["r" * 50] * 3)
    cluster.run(["mkdir", "-p", deep], check=True)
    env = {"SHIM_RUNTIME_DIR": deep}
    ended = steps.run([*SRUN, "shim", "exec", image4, fault, *MPI], env=env)
    here = cluster.home() / deep.removeprefix("/home/demo/")
    assert eventually(lambda: not list(here.iterdir()))
    cluster.run(["rm", "-rf", "/home/demo/" + "r" * 50], check=True)
    assert (ended.rc, ended.said) == (0, [])


@pytest.mark.parametrize("value", ["/proc", "/no/such/dir", "relative"])
def test_a_runtime_directory_of_no_use(steps: Jobs, image4: str, value: str) -> None:
    srun = ["srun", "--mpi=pmix", "-wn1", "-n1", "shim", "exec", image4, "true"]
    ended = steps.run(srun, env={"SHIM_RUNTIME_DIR": value})
    assert ended.rc == 125
    assert "SHIM_RUNTIME_DIR" in ended.sentence


@pytest.fixture
def no_tmp(cluster: Cluster) -> Iterator[None]:
    cluster.run(["chmod", "755", "/tmp"], node="n1", user="root", check=True)
    yield
    cluster.run(["chmod", "1777", "/tmp"], node="n1", user="root", check=True)


@pytest.mark.usefixtures("no_tmp")
def test_tmp_may_not_be_written(steps: Jobs, image4: str) -> None:
    # Slurm's own plugin makes its directory there as root; we have another way with TMPDIR.
    srun = ["srun", "--mpi=none", "-wn1", "-n1", "shim", "exec", image4, "true"]
    ended = steps.run(srun)
    assert ended.rc == 125
    assert "/tmp is not writable" in ended.sentence
    assert steps.run(srun, env={"TMPDIR": "/dev/shm"}).rc == 0


def test_no_runtime_on_path(steps: Jobs, image4: str) -> None:
    shell = f"PATH=/usr/local/bin exec shim exec {image4} true"
    ended = steps.run([*SRUN, "/bin/sh", "-c", shell])
    assert ended.rc == 125
    assert "apptainer" in ended.sentence.lower()


def test_an_option_that_only_one_rank_has(steps: Jobs, image4: str) -> None:
    call = f"[ $SLURM_PROCID = 0 ] && set -- --threads=none; exec shim exec $* {image4} true"
    ended = steps.run(["srun", "--mpi=pmix", "-wn1", "-n2", "sh", "-c", call])
    assert ended.rc != 0
    assert "--threads" in ended.said[0]


def test_verbose_tells_the_steps_of_the_start(steps: Jobs, image4: str, fault: str) -> None:
    ended = steps.run([*SRUN, "shim", "exec", "--verbose", image4, fault, *MPI])
    assert ended.rc == 0
    for node in ("n1", "n2"):
        assert f"shim: {node} " in ended.err
    for words in ("connected upstream", "node 1 of 2", "PMIx server listens", "is gone"):
        assert words in ended.err
