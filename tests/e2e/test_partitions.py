"""Partitions on a node: MPI, OpenMP and a co-process have shares, which change while they run.

Masks are read from /proc on this machine, whose kernel the nodes share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed import Cluster
from tests.e2e.conftest import Jobs, Running, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

PROGRAM = """
#include <mpi.h>
#include <omp.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
#pragma omp parallel
    {
#pragma omp barrier
#pragma omp single
        {
            printf("ready %d\\n", omp_get_num_threads());
            fflush(stdout);
        }
        while (access("/home/demo/go-on", F_OK))
            usleep(10000);
    }
    MPI_Finalize();
    return 0;
}
"""


@pytest.fixture(scope="module")
def threaded(cluster: Cluster, image4: str) -> str:
    """An MPI program of OpenMP threads that wait for the file `go-on`."""
    (cluster.home() / "threaded.c").write_text(PROGRAM)
    build = ["apptainer", "exec", image4, "mpicc", "-fopenmp", "-Wall", "-Werror", "-o", "threaded"]
    cluster.run([*build, "threaded.c"], check=True, timeout=120)
    return "/home/demo/threaded"


@pytest.fixture(autouse=True)
def go_on(cluster: Cluster, nothing_left: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Lets the program end; what it leaves is looked for."""
    file = cluster.home() / "go-on"
    file.unlink(missing_ok=True)
    yield file.touch
    file.touch()
    nothing_left()


def masks(cluster: Cluster, program: str, node: str = "n1") -> dict[int, list[str]]:
    """The mask of each thread (by age) of each process of that name on a node."""
    found = {}
    for pid, line in cluster.node_pids(node).items():
        if line.split(" ")[0].endswith(program):
            threads = sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda t: int(t.name))
            texts = [(thread / "status").read_text() for thread in threads]
            found[pid] = [re.findall(r"Cpus_allowed_list:\s*(\S+)", text)[0] for text in texts]
    return found


def shim_partition(cluster: Cluster, *words: str) -> tuple[int, str]:
    ended = cluster.run(["shim", "partition", *words], node="n1", user="demo")
    return ended.returncode, ended.stdout + ended.stderr


def share(cluster: Cluster, name: str) -> str:
    """The CPUs that `shim partition list` shows for it."""
    code, text = shim_partition(cluster, "list")
    assert code == 0, text
    found = re.search(rf"^ {name}\s+(\S+)", text, re.MULTILINE)
    assert found, text
    return found[1]


def started(jobs: Jobs, *words: str) -> Running:
    return jobs.start(["salloc", "-Q", "-N1", "-wn1", "--exclusive", "shim", "run", *words])


def test_threads_follow_their_share_as_it_shrinks_and_grows(
    jobs: Jobs, cluster: Cluster, image4: str, threaded: str, go_on: Callable[[], None]
) -> None:
    running = started(
        jobs, "-n", "1", "--threads", "2", "--partitions", "{mpi: 2}", image4, threaded
    ).wait_for("ready 2")
    (before,) = masks(cluster, "threaded").values()
    assert set(before) == {"0", "1"}
    assert shim_partition(cluster, "set", "mpi=1")[0] == 0
    report = cluster.run(["shim", "report", "--threads"], node="n1", user="demo", check=True).stdout
    assert re.search(r"^ mpi +0 +exclusive", report, re.MULTILINE)
    (narrow,) = masks(cluster, "threaded").values()
    assert set(narrow) == {share(cluster, "mpi")} == {"0"}
    assert shim_partition(cluster, "set", "mpi=100%")[0] == 0
    assert list(masks(cluster, "threaded").values()) == [before], "each thread is where it was"
    code, text = shim_partition(cluster, "set", "mpi=3")
    assert (code, share(cluster, "mpi")) == (1, "0-1")
    assert "cannot grow" in text
    go_on()
    ended = running.end()
    assert (ended.rc, ended.err) == (0, "")


def test_a_co_process_has_a_share_of_its_own(
    jobs: Jobs, cluster: Cluster, image4: str, threaded: str, go_on: Callable[[], None]
) -> None:
    shares = cluster.home() / "shares.yaml"
    shares.write_text("partitions:\n  mpi: 1\n  analysis: {cores: 1, from: last}\n")
    running = started(
        jobs,
        *("--partitions", "/home/demo/shares.yaml"),
        *("-n", "1", "--threads", "1", image4, threaded),
        ":",
        *("-n", "1", "--partition", "analysis", image4, threaded),
    )
    assert eventually(lambda: len(masks(cluster, "threaded")) == 2)
    running.wait_for("ready").wait_for("ready")
    found = {frozenset(threads) for threads in masks(cluster, "threaded").values()}
    assert found == {frozenset({"0"}), frozenset({"1"})}
    assert (share(cluster, "mpi"), share(cluster, "analysis")) == ("0", "1")
    code, text = shim_partition(cluster, "set", "mpi=2", "--from", "analysis")
    assert code == 1, "each donor keeps a core"
    assert "cannot grow" in text
    go_on()
    assert running.end().rc == 0


def test_a_second_program_of_a_task_is_put_into_another_share(
    jobs: Jobs, cluster: Cluster, image4: str, go_on: Callable[[], None]
) -> None:
    shares = "--partitions='{mpi: 1, analysis: 1}'"
    wait = "sh -c 'until [ -e /home/demo/go-on ]; do sleep 0.1; done'"
    both = (
        f"shim exec {shares} {image4} {wait} & sleep 1; "
        f"shim exec --partition analysis {image4} {wait}; wait"
    )
    running = jobs.start(
        ["srun", "--mpi=pmix", "-N1", "-wn1", "-n1", "-c2", "--exclusive", "bash", "-c", both]
    )

    def places() -> list[list[str]]:
        return sorted(
            masks(cluster, name)[pid]
            for name in ("sh",)
            for pid, line in cluster.node_pids("n1").items()
            if line.startswith("sh -c until")
        )

    assert eventually(lambda: places() == [["0"], ["1"]]), (places(), running.process.poll())
    go_on()
    assert running.end().rc == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--partition", "io"], "none is declared"),
        (["--partitions", "{mpi: 1}", "--partition", "io"], "There is no partition 'io'"),
        (["--partitions", "{mpi: 99}"], "wants 99 cores"),
        (["--partitions", "nowhere.yaml"], "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(
    jobs: Jobs, image4: str, options: list[str], sentence: str
) -> None:
    ended = started(jobs, "-n", "1", *options, image4, "true").end()
    assert ended.rc == 125
    assert ended.err.count("shim: ") == 1
    assert sentence in ended.err
