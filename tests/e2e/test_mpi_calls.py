"""What MPI and PMIx programs need of the server beyond MPI_Init, in real jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import Cluster
from tests.e2e.conftest import ROOT, Jobs

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


@pytest.mark.parametrize("program", ["control", "connections"])
@pytest.mark.parametrize("image", ["image4", "image5"])
def test_pmix_programs_work_between_nodes(
    cluster: Cluster, jobs: Jobs, image: str, program: str, request: pytest.FixtureRequest
) -> None:
    """The clients of tests/pmix_server, whose ranks find out by themselves what is wrong."""
    path = request.getfixturevalue(image)
    for name in (f"{program}.c", "client.h"):
        (cluster.home() / name).write_text((ROOT / "tests/pmix_server" / name).read_text())
    headers = "/usr/lib/x86_64-linux-gnu/pmix2/include"
    built = f"/home/demo/{program}-{image}"
    build = ["apptainer", "exec", path, "gcc", "-I", headers, "-o", built, f"{program}.c"]
    cluster.run([*build, "-l:libpmix.so.2"], check=True, timeout=120)
    ended = jobs.run(["srun", "--mpi=pmix", "-N2", "-n4", "shim", "exec", path, built])
    assert (ended.rc, ended.err, ended.said) == (0, "", [])
