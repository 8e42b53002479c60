"""The whole path on the private cluster: images, a program that misbehaves, and what is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shim.image_build.prepare import ImageCache, ensure_image
from shim.image_build.recipe import load_recipe
from testbed import Cluster
from testbed.mirror import debian_mirror
from testbed.paths import cache_directory
from testbed.process import NodeProcess
from testbed.progress import plain

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

NO_MPI_MESSAGES = {
    # Open MPI on a machine without fast networks, and UCX's own reports of a crash.
    "OMPI_MCA_btl_base_warn_component_unused": "0",
    "UCX_ERROR_SIGNALS": "",
}


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    rc: int
    """As a shell has it: 128+N for signal N."""
    out: str
    err: str
    elapsed: float
    """Seconds since its start or, if it was signalled or a fault was made, since then."""

    @property
    def said(self) -> list[str]:
        """The sentences that we said, without our name in front. What shows that a start takes
        long is no sentence, and has no capital."""
        return re.findall(r"^shim: ([A-Z].*)$", self.err, re.MULTILINE)

    @property
    def sentence(self) -> str:
        """The one line that we said."""
        assert len(self.said) == 1, f"said: {self.said}\nstderr: {self.err}"
        return self.said[0]


@dataclass
class Running:
    """A command that runs, with a clock for what is done to it."""

    process: NodeProcess
    started: float = field(default_factory=time.monotonic)

    def wait_for(self, text: str) -> Running:
        """Read standard output up to a line with *text*; the clock starts anew."""
        assert self.process.stdout
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if text in line:
                break
        else:
            pytest.fail(f"{text!r} did not come: {seen}, {self.process.communicate()}")
        time.sleep(0.2)  # the last rank leaves its barrier
        self.started = time.monotonic()
        return self

    def signal(self, number: signal.Signals) -> Running:
        self.process.send_signal(number)
        self.started = time.monotonic()
        return self

    def fault(self, action: Callable[[], object]) -> Running:
        self.started = time.monotonic()
        action()
        return self

    def end(self, timeout: float = 40) -> Ended:
        """Wait for its end."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            out, err = self.process.communicate()
            pytest.fail(f"did not end within {timeout} s\nstdout: {out}\nstderr: {err}")
        code = self.process.returncode
        elapsed = time.monotonic() - self.started
        return Ended(128 - code if code < 0 else code, out, err, elapsed)


class Jobs:
    """Starts commands on the cluster's head as a user."""

    def __init__(self, cluster: Cluster, job_id: str = "") -> None:
        self.cluster = cluster
        self.job_id = job_id
        """The allocation in which `srun` starts its steps; "": each its own."""

    def start(
        self, argv: Sequence[str], *, user: str = "demo", node: str = "head", **options: Any
    ) -> Running:
        words = list(argv)
        if words[0] == "srun" and self.job_id:
            words[1:1] = [f"--jobid={self.job_id}", "--overlap"]
        options["env"] = {**NO_MPI_MESSAGES, **options.get("env", {})}
        return Running(self.cluster.popen(words, user=user, node=node, **options))

    def run(self, argv: Sequence[str], **options: Any) -> Ended:
        return self.start(argv, **options).end()


def get_image(cluster: Cluster, name: str) -> str:
    """Build it if need be; its path on the nodes."""
    cache = ImageCache(cache_directory())
    ensure_image(load_recipe(name, ROOT), cache, cluster, debian_mirror, plain)
    return f"/shared/images/{name}.sif"


@pytest.fixture(scope="session")
def image4(cluster: Cluster) -> str:
    """Open MPI 4.1, as a path on the nodes."""
    return get_image(cluster, "openmpi-4.1")


@pytest.fixture(scope="session")
def image5(cluster: Cluster) -> str:
    """Open MPI 5.0, as a path on the nodes."""
    return get_image(cluster, "openmpi-5.0")


def build_fault(cluster: Cluster, image: str) -> str:
    """The program of fault.c on a cluster's home. *image* brings compiler and MPI."""
    home = cluster.home()
    (home / "fault.c").write_text((HERE / "fault.c").read_text())
    build = ["apptainer", "exec", image, "mpicc", "-Wall", "-Wextra", "-Werror", "-o", "fault"]
    cluster.run([*build, "fault.c"], check=True, timeout=120)
    cluster.run(["chmod", "755", ".", "fault"], check=True)
    return "/home/demo/fault"


@pytest.fixture(scope="session")
def fault(cluster: Cluster, image4: str) -> str:
    """Its path on the nodes. Built with the older library, it runs with both and natively."""
    return build_fault(cluster, image4)


@pytest.fixture(scope="module")
def steps(cluster: Cluster) -> Iterator[Jobs]:
    """An allocation of both nodes; a step in it starts at once and fails alone."""
    salloc = ["salloc", "--no-shell", "-N2", "--exclusive"]
    granted = cluster.run(salloc, check=True)
    found = re.search(r"allocation (\d+)", granted.stderr)
    assert found, granted.stderr
    yield Jobs(cluster, found[1])
    cluster.run(["scancel", found[1]], check=True)
    queue_is_empty(cluster)


@pytest.fixture
def jobs(cluster: Cluster) -> Iterator[Jobs]:
    """No allocation: what is started makes its own."""
    yield Jobs(cluster)
    queue_is_empty(cluster)


def eventually(condition: Callable[[], object], seconds: float = 10) -> bool:
    """Whether *condition* becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def queue_is_empty(cluster: Cluster) -> None:
    """Wait until the nodes are free again, which takes Slurm some seconds after a kill."""
    assert eventually(lambda: not cluster.run(["squeue", "-h"]).stdout, 60)


@pytest.fixture
def nothing_left(cluster: Cluster) -> Callable[[], None]:
    """Fails unless soon nothing is on any node that was not there before the test."""

    def left() -> set[str]:
        found = cluster.leftovers()
        processes = {f"process {p.node}: {p.pid} {p.command}" for p in found.processes}
        return {*processes, *(f"mount {mount}" for mount in found.mounts), *found.files}

    before = left()

    def check() -> None:
        assert eventually(lambda: not left() - before, 5), "\n".join(sorted(left() - before))

    return check


def kill(cluster: Cluster, node: str, program: str, number: int = signal.SIGKILL) -> int:
    """Signal the processes on a node whose command line matches; returns how many."""
    hit = [pid for pid, line in cluster.node_pids(node).items() if re.search(program, line)]
    for pid in hit:
        os.kill(pid, number)
    return len(hit)


def kill_parent(pid: int) -> None:
    """SIGKILL to the parent of a process, such as the guard of an agent."""
    status = Path(f"/proc/{pid}/status").read_text()
    os.kill(int(status.split("PPid:")[1].split()[0]), signal.SIGKILL)
