"""MPI calls that need more of the PMIx server than MPI_Init does."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import Cluster
from tests.e2e.conftest import Jobs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.mark.parametrize("image", ["image4", "image5"])
def test_names_are_published_between_nodes(
    cluster: Cluster, jobs: Jobs, image: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(image)
    program = f"/home/demo/naming-{image}"
    source = Path(__file__).with_name("naming.c")
    (cluster.home() / "naming.c").write_text(source.read_text())
    build = ["apptainer", "exec", path, "mpicc", "-Wall", "-Wextra", "-Werror"]
    cluster.run([*build, "-o", program, "naming.c"], check=True, timeout=120)
    ended = jobs.run(["srun", "--mpi=pmix", "-N2", "-n4", "shim", "exec", path, program])
    assert (ended.rc, ended.out, ended.said) == (0, "names: right\n", [])
