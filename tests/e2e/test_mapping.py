"""Mapping through the whole path: what `shim map` shows is what `shim run` and `shim exec` do."""

from __future__ import annotations

import json
import shlex

import pytest

from testbed import Cluster
from tests.e2e.conftest import Jobs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

REPORT = "/home/demo/bindings.json"


def reported(cluster: Cluster) -> dict[int, dict[str, object]]:
    ranks = json.loads((cluster.home() / "bindings.json").read_text())["ranks"]
    return {entry["rank"]: entry for entry in ranks}


def mapped(cluster: Cluster, options: list[str]) -> dict[int, tuple[str, str]]:
    """(node, CPUs) of each rank; `shim map` names its invented nodes n0 and n1."""
    shown = cluster.run(["shim", "map", "--nodes=2", "--output=json", *options], node="n1")
    assert shown.returncode == 0, shown.stderr
    return {
        rank["rank"]: (node["node"].replace("n1", "n2").replace("n0", "n1"), rank["cpus"])
        for node in json.loads(shown.stdout)["nodes"]
        for rank in node["ranks"]
    }


@pytest.mark.parametrize(
    "options",
    [
        "-n 4",
        "-n 3",
        "-n 4 --map-by node",
        "-n 4 --rank-by node",
        "-n 2 --map-by slot --cpus-per-rank 2",
        "-n 3 --ppn 2",
        "-n 2 --map-by ppr:1:node",
        "-n 2 --map-by hwthread --bind-to none",
        "-n 2 --reserve 1 --ppn 1",
    ],
)
def test_a_run_does_what_the_map_shows(
    steps: Jobs, cluster: Cluster, image4: str, options: str
) -> None:
    words = shlex.split(options)
    env = {"SLURM_JOB_ID": steps.job_id, "SLURM_JOB_NODELIST": "n[1-2]"}
    (cluster.home() / "bindings.json").unlink(missing_ok=True)
    run = ["shim", "run", *words, f"--report-bindings={REPORT}", image4, "true"]
    ended = steps.run(run, env=env)
    assert (ended.rc, ended.err) == (0, ""), ended
    ranks = reported(cluster)
    assert {rank: (one["node"], one["planned"]) for rank, one in ranks.items()} == mapped(
        cluster, words
    )
    assert all(one["effective"] == one["planned"] for one in ranks.values())


def test_the_users_axes_win_over_the_launchers_masks(
    steps: Jobs, cluster: Cluster, image4: str
) -> None:
    srun = ["srun", "--mpi=pmix", "-N1", "-n2", "-c1", "--cpu-bind=cores", "shim", "exec"]
    report = f"--report-bindings={REPORT}"
    kept = steps.run([*srun, report, image4, "true"])
    assert kept.rc == 0, kept.err
    bound = {str(one["effective"]) for one in reported(cluster).values()}
    assert bound == {"0", "1"}
    floating = steps.run([*srun, report, "--bind-to", "none", image4, "true"])
    assert floating.rc == 0, floating.err
    assert {str(one["effective"]) for one in reported(cluster).values()} == {"0-1"}


def test_a_rank_file_places_each_rank(steps: Jobs, cluster: Cluster, image4: str) -> None:
    (cluster.home() / "ranks").write_text("rank 0=n2 cpus=1\nrank 1=n1 slot=0\n")
    env = {"SLURM_JOB_ID": steps.job_id, "SLURM_JOB_NODELIST": "n[1-2]"}
    run = ["shim", "run", "--rankfile=ranks", f"--report-bindings={REPORT}", image4, "true"]
    ended = steps.run(run, env=env, cwd="/home/demo")
    assert (ended.rc, ended.err) == (0, ""), ended
    ranks = reported(cluster)
    assert (ranks[0]["node"], ranks[0]["effective"]) == ("n2", "1")
    assert (ranks[1]["node"], ranks[1]["effective"]) == ("n1", "0")


def test_a_memory_policy_reaches_the_program(steps: Jobs, image4: str) -> None:
    run = ["srun", "-n1", "shim", "exec", "--mem-bind", "bind", image4]
    ended = steps.run([*run, "grep", "-m1", "-o", "bind:[0-9]*", "/proc/self/numa_maps"])
    assert (ended.rc, ended.out) == (0, "bind:0\n"), ended.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--map-by nonsense", "no way to map ranks"),
        ("--gpus-per-rank 1", "GPU"),
        ("--cpus-per-rank 2 --bind-to none", "contradicts"),
        ("-n 64", "64 ranks do not fit"),
    ],
)
def test_what_cannot_be_is_refused_once(
    steps: Jobs, image4: str, options: str, sentence: str
) -> None:
    env = {"SLURM_JOB_ID": steps.job_id, "SLURM_JOB_NODELIST": "n[1-2]"}
    ended = steps.run(["shim", "run", "-n", "2", *shlex.split(options), image4, "true"], env=env)
    assert ended.rc == 125
    assert ended.err.count("shim: ") == 1
    assert sentence in ended.err
