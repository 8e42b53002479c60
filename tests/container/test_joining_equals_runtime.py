"""A rank that joins is what the runtime's own `exec` would have made of it.

The same probe, a static program, runs once through `apptainer exec` and once as a joined rank,
with the same options, environment, directory and umask. Whatever differs must stand in
ACCEPTED, with its reason.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.container.resemblance import attributes, differences
from tests.frontend.bench import Bench

pytestmark = pytest.mark.cluster

ACCEPTED: dict[str, str] = {
    "environment.SHIM_RANK": "the test's agent adds it, as the real one adds PMIX_RANK and the like"
}

ENVIRONMENT = {
    "PLAIN": "1",
    "WITH_NEWLINE": "a\nb",
    "WITH_SPACES": "  two  words ",
    "WITH_SHELL": "$HOME `id` \\ \"quoted\" 'single'",
    "EMPTY": "",
    "NOT_ASCII": "grüße",
    "LD_LIBRARY_PATH": "/host/lib",
    "TERM": "xterm",
    "http_proxy": "http://proxy:3128",
    "APPTAINERENV_FOO": "from outside",
    "SINGULARITYENV_BAR": "old name",
    "APPTAINERENV_PREPEND_PATH": "/first",
    "APPTAINER_BIND": "/shared",
    "LANG": "de_DE.UTF-8",
    "BASH_FUNC_f%%": "() { :; }",
}

ADDED_BY_THE_AGENT = {
    "PMIX_": "the way to the node's PMIx server",
    "OMP_": "the OpenMP threads follow the rank's CPUs",
    "OMPI_MCA_": "shared-memory files go where the step's end removes them",
    "FLUX_JOB_ID": "without a launcher of a known name Open MPI 4.1 takes itself for a singleton",
}
"""Prefixes of environment variables, which are all that the real agent changes."""

OPTION_SETS = [
    "",
    "--cleanenv",
    "--contain",
    "--containall",
    "--compat",
    "--pid",
    "--pid --no-init",
    "--ipc",
    "--uts",
    "--hostname inside",
    "--no-home",
    "--home /tmp:/home/elsewhere",
    "--bind /opt:/mnt",
    "--bind /opt:/mnt:ro,/usr",
    "--mount type=bind,src=/opt,dst=/mnt",
    "--scratch /scratch",
    "--contain --workdir /shared/bench/workdir",
    "--writable-tmpfs",
    "--overlay /shared/bench/overlay",
    "--env X=a,Y=b",
    "--env-file /shared/bench/env-file",
    "--cleanenv --env X=1",
    "--no-eval",
    "--pwd /tmp",
    "--cwd /opt",
    "--no-umask",
    "--no-mount tmp",
    "--no-privs",
    "--fakeroot",
    "--fakeroot --pid",
    "--userns",
    "--underlay",
    "--unsquash",
    "--dns 10.1.2.3",
    "--nv",
]


@pytest.fixture(scope="module", autouse=True)
def _files(bench: Bench) -> None:
    for name in ("upper", "work"):
        path = bench.host / "overlay" / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
    (bench.host / "overlay").chmod(0o777)
    (bench.host / "workdir").mkdir(exist_ok=True)
    (bench.host / "workdir").chmod(0o777)
    (bench.host / "env-file").write_text('FROM_FILE="a b"\nOTHER=$PLAIN\n')


def probe(bench: Bench, launcher: list[str], options: str, image: str, umask: str) -> Any:
    words = [*launcher, *options.split(), image, "/bin/probe"]
    script = f'umask {umask}; ulimit -n 512; exec "$@"'
    seen = bench.run(["sh", "-c", script, "sh", *words], env=ENVIRONMENT, cwd="/shared/bench")
    assert seen.returncode == 0, seen.stderr
    return json.loads(seen.stdout)


def unexpected(bench: Bench, options: str, image: str, umask: str = "0022") -> list[object]:
    host = probe(bench, ["sh", "-c", '"$0" >&1', f"{bench.inside}/bin/probe"], "", "", umask)
    runtime = attributes(probe(bench, ["apptainer", "exec"], options, image, umask), host)
    joined = attributes(probe(bench, ["shim", "exec"], options, image, umask), host)
    assert len(runtime) > 50
    return [found for found in differences(runtime, joined) if found.attribute not in ACCEPTED]


@pytest.mark.parametrize("options", OPTION_SETS)
def test_a_joined_rank_equals_the_runtimes_exec(bench: Bench, options: str) -> None:
    assert unexpected(bench, options, bench.image) == []


@pytest.mark.parametrize("options", ["", "--writable", "--containall"])
def test_the_same_holds_for_a_sandbox(bench: Bench, options: str) -> None:
    assert unexpected(bench, options, bench.sandbox) == []


def test_the_same_holds_for_a_running_instance(bench: Bench) -> None:
    name = "equal"
    assert bench.run(["apptainer", "instance", "start", bench.image, name]).returncode == 0
    try:
        assert unexpected(bench, "", f"instance://{name}") == []
    finally:
        bench.run(["apptainer", "instance", "stop", name])


@pytest.mark.parametrize("umask", ["0077", "0002"])
def test_the_umask_is_the_callers(bench: Bench, umask: str) -> None:
    assert unexpected(bench, "", bench.image, umask) == []


@pytest.mark.parametrize("options", ["", "--cleanenv", "--containall", "--fakeroot", "--pid"])
@pytest.mark.parametrize("no_pmix", [True, False])
def test_the_real_agent_adds_environment_variables_only(
    bench: Bench, options: str, no_pmix: bool
) -> None:
    host = probe(bench, ["sh", "-c", '"$0"', f"{bench.inside}/bin/probe"], "", "", "0022")
    bare = ["env", "-u", "SHIM_PYTHON"]
    plain = probe(bench, [*bare, "apptainer", "exec"], options, bench.image, "0022")
    runtime = attributes(plain, host)
    shim = [*bare, "/usr/local/bin/shim", "exec"]
    if no_pmix:
        shim.append("--no-pmix")
    joined = attributes(probe(bench, shim, options, bench.image, "0022"), host)
    allowed = {"OMP_"} if no_pmix else set(ADDED_BY_THE_AGENT)
    added = tuple(f"environment.{prefix}" for prefix in allowed)
    found = differences(runtime, joined)
    assert [one for one in found if not one.attribute.startswith(added)] == []
    assert all(one.attribute != "environment.PMIX_RANK" for one in found) is no_pmix


def test_the_probe_sees_a_difference_where_there_is_one(bench: Bench) -> None:
    """The comparison is not blind: two different option sets do not compare equal."""
    host = probe(bench, ["sh", "-c", '"$0"', f"{bench.inside}/bin/probe"], "", "", "0022")
    one = attributes(probe(bench, ["shim", "exec"], "", bench.image, "0022"), host)
    two = attributes(probe(bench, ["shim", "exec"], "--containall", bench.image, "0022"), host)
    found = {difference.attribute for difference in differences(one, two)}
    assert {"namespace.pid", "namespace.ipc", "cwd", "environment.PLAIN"} <= found
    assert any(name.startswith("mount.") for name in found)
