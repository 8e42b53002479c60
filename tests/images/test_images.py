"""The images as a user of the cluster meets them: built once, run by plain Apptainer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shim.errors import ShimError
from shim.image_build.prepare import ImageCache, ensure_image
from shim.image_build.recipe import load_recipe
from testbed import Cluster
from testbed.paths import cache_directory
from testbed.progress import plain, silent

ROOT = Path(__file__).parents[2]
VERSIONS = {"openmpi-4.1": "Open MPI v4.1.4", "openmpi-5.0": "Open MPI v5.0.7"}

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def build(cluster: Cluster, *names: str) -> subprocess.CompletedProcess[str]:
    """`shim image build` as a user types it."""
    command = [sys.executable, "-m", "shim", "image", "build", *names, "--cluster", cluster.name]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def images(cluster: Cluster) -> Mapping[str, str]:
    """Name → path in the cluster."""
    built = build(cluster, *VERSIONS)
    assert built.returncode == 0, built.stderr
    return {name: f"/shared/images/{name}.sif" for name in VERSIONS}


def test_a_second_call_does_no_work(cluster: Cluster, images: Mapping[str, str]) -> None:
    recipe = load_recipe("openmpi-5.0", ROOT)
    steps: list[str] = []

    def no_mirror() -> str:
        raise AssertionError("a cached image needs no mirror")

    def counting(text: str) -> Any:
        steps.append(text)
        return silent(text)

    cache = ImageCache(cache_directory())
    written = cache.image(recipe).stat().st_mtime_ns
    path = ensure_image(recipe, cache, cluster, no_mirror, counting)
    assert (path.stat().st_mtime_ns, steps) == (written, [])


def test_a_user_cannot_change_the_cached_image(cluster: Cluster, images: Mapping[str, str]) -> None:
    path = images["openmpi-5.0"]
    assert cluster.run(["test", "-r", path]).returncode == 0
    assert cluster.run(["test", "-w", path]).returncode == 1


@pytest.mark.parametrize("name", VERSIONS)
def test_plain_apptainer_runs_it(cluster: Cluster, images: Mapping[str, str], name: str) -> None:
    result = cluster.run(
        ["apptainer", "exec", images[name], "hybrid"], env={"OMP_NUM_THREADS": "2"}
    )
    assert result.returncode == 0, result.stderr
    (line,) = map(json.loads, result.stdout.splitlines())
    assert line["mpi"] == VERSIONS[name]
    assert line["container"] == images[name]
    assert (line["ok"], line["omp_num_threads"], len(line["threads"])) == (True, 2, 2)


@pytest.mark.parametrize("name", VERSIONS)
def test_labels_name_the_versions_that_are_inside(
    cluster: Cluster, images: Mapping[str, str], name: str
) -> None:
    result = cluster.run(["apptainer", "inspect", "--json", images[name]], check=True)
    labels = json.loads(result.stdout)["data"]["attributes"]["labels"]
    assert labels["shim.mpi"] == VERSIONS[name].lower().replace("open mpi v", "openmpi ")
    assert labels["org.opencontainers.image.title"] == name


def test_run_help_and_a_compiler_are_there(cluster: Cluster, images: Mapping[str, str]) -> None:
    image = images["openmpi-4.1"]
    ran = cluster.run(["apptainer", "run", image, "mpicc", "--showme:version"], check=True)
    assert "4.1.4" in ran.stdout
    assert "pingpong" in cluster.run(["apptainer", "run-help", image], check=True).stdout


@pytest.fixture(scope="module")
def native(cluster: Cluster) -> str:
    """Directory in the cluster with the programs, built by the nodes' own mpicc."""
    target = cluster.shared / "native-examples"
    subprocess.run(["rm", "-rf", str(target)], check=True)
    subprocess.run(["cp", "-r", str(ROOT / "examples"), str(target)], check=True)
    inside = f"/shared/{target.name}"
    cluster.run(["make", "-C", inside, "-B"], user="root", timeout=120, check=True)
    return f"{inside}/bin"


def lines_of(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_hybrid_reports_every_rank_in_order(cluster: Cluster, native: str) -> None:
    step = ["srun", "--mpi=pmix", "-N2", "-n4", "--overcommit", f"{native}/hybrid"]
    lines = lines_of(cluster.run(step, env={"OMP_NUM_THREADS": "3"}))
    assert [line["rank"] for line in lines] == [0, 1, 2, 3]
    assert {line["host"] for line in lines} == {"n1", "n2"}
    assert all(line["ok"] and line["size"] == 4 and line["local_size"] == 2 for line in lines)
    assert all([one["thread"] for one in line["threads"]] == [0, 1, 2] for line in lines)


def test_hybrid_reads_the_affinity_that_the_kernel_holds(cluster: Cluster, native: str) -> None:
    step = ["srun", "--mpi=pmix", "-n1", "taskset", "-c", "0", f"{native}/hybrid"]
    (line,) = lines_of(cluster.run(step, env={"OMP_NUM_THREADS": "2"}))
    assert line["affinity"] == "0"
    assert [one["affinity"] for one in line["threads"]] == ["0", "0"]


def test_pingpong_covers_the_sizes(cluster: Cluster, native: str) -> None:
    program = [f"{native}/pingpong", "--seconds-per-size", "0.01", "--max-bytes", "1024"]
    lines = lines_of(cluster.run(["srun", "--mpi=pmix", "-n2", "--overcommit", *program]))
    assert [line["bytes"] for line in lines] == [1 << power for power in range(11)]
    assert all(line["best_us"] <= line["latency_us"] for line in lines)
    assert all(line["bandwidth_MBps"] > 0 for line in lines)


def test_pingpong_alone_is_refused(cluster: Cluster, native: str) -> None:
    result = cluster.run(["srun", "--mpi=pmix", "-n1", f"{native}/pingpong"])
    assert result.returncode == 2
    assert "only one rank" in result.stderr


def test_wireup_is_one_job(cluster: Cluster, native: str) -> None:
    step = ["srun", "--mpi=pmix", "-N2", "-n2", f"{native}/wireup"]
    (line,) = lines_of(cluster.run(step))
    assert line["size"] == 2
    assert all(line[part] > 0 for part in ("init_s", "barrier_s", "finalize_s"))


def test_an_image_whose_program_does_not_compile_names_the_compilers_error(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A user's mistake in a definition ends in two sentences, and leaves nothing in the cache."""
    for part in ("singularity-defs", "examples"):
        subprocess.run(["cp", "-r", str(ROOT / part), str(tmp_path)], check=True)
    (tmp_path / "examples/wireup/wireup.c").write_text("int main(void) { return missing(); }\n")
    recipe = load_recipe("openmpi-4.1", tmp_path)
    cache = ImageCache(cache_directory())
    with pytest.raises(ShimError) as failure:
        ensure_image(recipe, cache, cluster, lambda: "", plain)
    assert "missing" in failure.value.hint
    assert not cache.image(recipe).exists()
    assert list(cluster.shared.glob("images/.build-*")) == []
