"""Each way of being a client of real launchers: slurmstepd of two nodes, and prterun."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import Cluster

MODES = ["isolated", "launcher", "agent"]
HERE = Path(__file__).parent

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def directory(cluster: Cluster) -> Iterator[str]:
    """A directory that all nodes see, with the test packages and the C client built there."""
    name = f"pmix-{uuid.uuid4().hex[:8]}"
    host = cluster.shared / name
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(HERE, host / "tests" / "pmix_server", ignore=skip)
    (host / "tests" / "__init__.py").touch()
    cluster.run(["chmod", "-R", "a+rwX", f"/shared/{name}"], user="root", check=True)
    headers = "/usr/lib/$(gcc -print-multiarch)/pmix2/include"
    build = f"gcc -I{headers} tests/pmix_server/ranks.c -o ranks -lpmix"
    cluster.run(["sh", "-c", build], cwd=f"/shared/{name}", check=True)
    yield f"/shared/{name}"
    shutil.rmtree(host)


def agent(directory: str, mode: str) -> list[str]:
    command = ["python3", "-X", "faulthandler", "-m", "tests.pmix_server.agent", mode, "s3cret"]
    return [*command, f"{directory}/ranks", "exchange", "100"]


def reports(output: str) -> list[dict[str, Any]]:
    """What the agents printed, by rank."""
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return sorted(found, key=lambda report: int(report["rank"]))


@pytest.mark.parametrize("mode", MODES)
def test_one_agent_per_node_under_slurm(cluster: Cluster, directory: str, mode: str) -> None:
    """Only the first task of each node touches PMIx: it knows the whole job, gets the secret of
    rank 0 by direct modex before that is published, serves a rank and leaves. The step ends
    with 0, which it would not if a client were gone without PMIx_Finalize."""
    leaders_only = 'test "$SLURM_LOCALID" = 0 || exit 0; exec "$@"'
    step = ["srun", "--mpi=pmix", "-N2", "-n4", "sh", "-c", leaders_only, "sh"]
    done = cluster.run(
        [*step, *agent(directory, mode)], cwd=directory, env={"PYTHONPATH": directory}, timeout=90
    )
    assert done.returncode == 0, done.stderr
    first, second = reports(done.stdout)
    nodes = [[cluster.nodes[0], [0, 1]], [cluster.nodes[1], [2, 3]]]
    for report, rank, local in ((first, 0, 0), (second, 2, 1)):
        assert (report["rank"], report["local"]) == (rank, local)
        assert report["nodes"] == nodes
        assert report["size"] == 4
        assert report["fetched"] == "s3cret"
        assert report["codes"] == [0], report["errors"]
    assert first["job_id"] == second["job_id"]


@pytest.mark.parametrize("mode", MODES)
def test_agents_under_prterun(cluster: Cluster, directory: str, mode: str) -> None:
    launch = ["prterun", "-n", "2", "--map-by", ":OVERSUBSCRIBE", "-x", "PYTHONPATH"]
    done = cluster.run(
        [*launch, *agent(directory, mode)],
        node=cluster.nodes[0],
        cwd=directory,
        env={"PYTHONPATH": directory},
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    for rank, report in enumerate(reports(done.stdout)):
        assert report["rank"] == rank
        assert report["nodes"] == [[cluster.nodes[0], [0, 1]]]
        assert report["fetched"] == "s3cret"
        assert report["codes"] == [0], report["errors"]
