"""Every command in the documents is run, as it stands there.

Numbers of ranks and threads are made smaller where the test cluster (two nodes of two CPUs) could
not take them; nothing else is changed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import Cluster
from tests.e2e.documents import ROOT, Documented, documented

ELSEWHERE = {
    "make demo": "test_make_demo, below",
    "make test": "what runs this test",
    "pip install .": "tests/test_packaging.py",
    "apt-get install gcc libc6-dev libpmix-dev libpmix2 libhwloc15": "the Makefile, same packages",
    "shim image build openmpi-5.0": "tests/images",
}
"""Commands that this module leaves to others, and to whom."""

SMALLER = (("-n 8", "-n 4"), ("--threads 4", "--threads 1"))

ALL = documented()
ON_HOST = [one for one in ALL if one.text.startswith("shim cluster")]
ON_CLUSTER = [one for one in ALL if one not in ON_HOST and one.text not in ELSEWHERE]


def test_the_documents_have_commands_of_each_kind() -> None:
    """What the reader would look for first is there, so the extraction works."""
    words = {one.text.split(" ")[0] for one in ALL if not one.is_script}
    assert {"srun", "shim", "prterun", "make"} <= words
    assert any(one.is_script for one in ALL)


@pytest.fixture(scope="module")
def directory(cluster: Cluster, image5: str) -> str:
    """A user's directory with all the files that the documents' commands name."""
    copy = 'cp "$(command -v hybrid)"'
    done = cluster.run(
        [
            "bash",
            "-ec",
            "mkdir -p docs && cd docs && lstopo -i 'pack:2 core:8 pu:2' -f machine.xml && "
            f"ln -sf {image5} app.sif && echo 1 > input.dat && "
            f"apptainer --silent exec app.sif sh -c 'for to in app solver monitor a.out; do "
            f"{copy} $to; done' && pwd",
        ],
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.cluster
@pytest.mark.parametrize("command", ON_CLUSTER, ids=str)
def test_a_command_of_the_documents_works(
    cluster: Cluster, directory: str, command: Documented
) -> None:
    text = command.text
    for documented_number, number in SMALLER:
        text = text.replace(documented_number, number)
    if command.is_script:
        script = f"{directory}/job.sh"
        cluster.run(["tee", script], input=text, check=True)
        words = ["sbatch", "--wait", "--output=job.out", script]
    elif text.startswith("shim run") and "-n 2" not in text:
        words = ["salloc", "--quiet", "-N2", "--exclusive", *text.split()]
    else:
        words = text.split()
    done = cluster.run(words, cwd=directory, timeout=120)
    output = done.stdout
    if command.is_script:
        output += cluster.run(["cat", "job.out"], cwd=directory).stdout
    assert done.returncode == 0, done.stderr + output
    if "map" not in text:
        ranks = re.findall(r'^\{"rank": (\d+)', output, re.MULTILINE)
        assert ranks == [str(rank) for rank in range(len(ranks))]
        assert ranks, output


@pytest.mark.cluster
def test_the_commands_of_the_cluster_page_work_in_their_order(cluster: Cluster) -> None:
    """On a cluster of the default name; `logs -f` would go on for ever and is ended."""
    assert [one.text.split()[2] for one in ON_HOST if one.document == "cluster.md"] == [
        "up",
        "exec",
        "exec",
        "status",
        "logs",
        "down",
    ]
    for one in (one for one in ON_HOST if one.document == "cluster.md"):
        words = [sys.executable, "-m", *one.text.split()]
        if one.text.endswith("./a.out"):
            words[-1] = "hostname"
        if one.text.endswith("bash"):
            words += ["-c", "id -u"]
        try:
            done = subprocess.run(
                words, cwd=ROOT, capture_output=True, text=True, timeout=5 if "-f" in words else 240
            )
        except subprocess.TimeoutExpired:
            assert "-f" in words
            continue
        assert done.returncode == 0, done.stderr


@pytest.mark.cluster
def test_make_demo(tmp_path: Path) -> None:
    """The demo under a name of its own, so that it does not end a user's running one."""
    done = subprocess.run(
        [sys.executable, "examples/demo/demo.py", "--name", "demo-test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "make demo" in (ROOT / "README.md").read_text()
    assert re.search(r"3 │ n2 .* Open MPI v5", done.stdout), done.stdout
