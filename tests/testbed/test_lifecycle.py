"""Coming and going: nothing stays behind, whatever dies when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shim.errors import ShimError
from testbed import Cluster
from testbed.cleanup import holders_of
from testbed.lifecycle import take_down, take_down_all
from testbed.paths import cache_directory
from testbed.state import directory_of, load

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
NAME = "shim-test-life"
BESIDE = "shim-test-beside"


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    for name in (NAME, BESIDE):
        take_down(name)
    yield
    for name in (NAME, BESIDE):
        take_down(name)


def namespaces_of(pids: set[int]) -> set[str]:
    """The namespaces, as "net:[4026532281]", in which any of the processes is."""
    found = set()
    for pid in pids:
        for kind in ("mnt", "net", "pid", "uts", "ipc"):
            try:
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
            except OSError:
                continue
    return found


def all_pids() -> set[int]:
    return {int(entry.name) for entry in Path("/proc").glob("[0-9]*")}


def assert_nothing_of(name: str, its_namespaces: set[str]) -> None:
    assert list(holders_of(name)) == []
    assert not directory_of(name).exists()
    assert not list(cache_directory().glob(f"*{name}*"))
    # Namespaces are listed by their members; the kernel may need a moment for the last one.
    deadline = time.monotonic() + 5
    while its_namespaces & namespaces_of(all_pids()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert str(directory_of(name)) not in Path("/proc/self/mountinfo").read_text()
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    assert "br0" not in links.stdout.split()


def own_namespaces(cluster: Cluster) -> set[str]:
    pids = {pid for node in ("head", *cluster.nodes) for pid in cluster.node_pids(node)}
    state = load(cluster.name)
    assert state is not None
    pids |= {holder.pid for holder in state.holders.values()}
    return namespaces_of(pids) - namespaces_of({os.getpid()})


def test_down_leaves_nothing_even_of_users_that_clung_to_the_nodes() -> None:
    cluster = Cluster.up(NAME)
    cluster.run(["sbatch", "--wrap", "sleep 300"], check=True)
    cluster.run(["sh", "-c", "setsid nohup sleep 300 >/dev/null 2>&1 &"], node="n1", check=True)
    namespaces = own_namespaces(cluster)
    assert len(namespaces) >= 3 * 5 + 1
    cluster.down()
    assert_nothing_of(NAME, namespaces)
    with pytest.raises(ShimError, match="no running cluster"):
        Cluster.attach(NAME)


def test_a_cluster_from_the_cache_is_up_within_ten_seconds() -> None:
    Cluster.up(NAME).down()
    begun = time.monotonic()
    Cluster.up(NAME).run(["srun", "-N2", "true"], check=True)
    assert time.monotonic() - begun < 10


def kill_up_after(seconds: float) -> None:
    """Start ``up`` as a command and kill it with SIGKILL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "shim", "cluster", "up", "--name", NAME],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(seconds)
    process.kill()
    process.wait()


@pytest.mark.parametrize("seconds", [0.25, 0.4, 0.6, 1.0])
def test_after_kill_9_of_up_a_second_up_cleans_and_starts(seconds: float) -> None:
    kill_up_after(seconds)
    cluster = Cluster.up(NAME)
    namespaces = own_namespaces(cluster)
    nodes = cluster.run(["srun", "-N2", "hostname"], check=True).stdout
    assert sorted(nodes.split()) == ["n1", "n2"]
    cluster.down()
    assert_nothing_of(NAME, namespaces)


def test_sigterm_to_up_takes_down_what_is_half_up() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "shim", "cluster", "up", "--name", NAME], cwd=ROOT
    )
    deadline = time.monotonic() + 30
    while not list(holders_of(NAME)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    assert process.wait(20) == 128 + signal.SIGTERM
    assert_nothing_of(NAME, set())


def test_two_ups_at_once_make_one_cluster() -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: Cluster.up(NAME, nodes=1), range(2))
    assert first.pid("n1") == second.pid("n1")


@pytest.mark.parametrize("seconds", [0.3, 0.5])
def test_after_kill_9_of_up_down_leaves_nothing(seconds: float) -> None:
    kill_up_after(seconds)
    half_made = namespaces_of(set(holders_of(NAME))) - namespaces_of({os.getpid()})
    take_down(NAME)
    assert_nothing_of(NAME, half_made)


def test_down_finds_a_cluster_whose_state_file_is_lost() -> None:
    cluster = Cluster.up(NAME)
    namespaces = own_namespaces(cluster)
    (cluster.directory / "state.json").unlink()
    assert take_down(NAME)
    assert_nothing_of(NAME, namespaces)


def test_a_cluster_with_a_dead_node_is_made_anew() -> None:
    cluster = Cluster.up(NAME)
    cluster.kill_node("n1")
    assert [node.alive for node in cluster.status()] == [True, False, True]
    with pytest.raises(ShimError, match="n1"):
        Cluster.attach(NAME).run(["true"], node="n1")
    again = Cluster.up(NAME)
    assert all(node.alive for node in again.status())


def test_two_clusters_live_side_by_side_and_apart() -> None:
    one, other = Cluster.up(NAME), Cluster.up(BESIDE, nodes=1, cpus=8)
    one.run(["touch", "/shared/mine"], check=True)
    assert not (other.shared / "mine").exists()
    assert one.run(["srun", "-N2", "hostname"], check=True).stdout.count("\n") == 2
    assert other.run(["srun", "-n8", "hostname"], check=True).stdout == "n1\n" * 8
    unreachable = ["nc", "-z", "-w", "1", one.address("head"), "22"]
    assert other.run(unreachable).returncode != 0
    other.down()
    assert one.run(["srun", "-N2", "hostname"], check=True).stdout.count("\n") == 2


def test_down_all_ends_every_cluster_of_this_cache_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Cluster.up(NAME, nodes=1)
    for part in ("images", "layers"):
        (tmp_path / part).symlink_to(cache_directory() / part)
    with monkeypatch.context() as patch:
        patch.setenv("SHIM_CACHE", str(tmp_path))
        for name in (NAME, BESIDE):
            Cluster.up(name, nodes=1)
        assert take_down_all() == [BESIDE, NAME]
        for name in (NAME, BESIDE):
            assert_nothing_of(name, set())
    assert elsewhere.run(["srun", "hostname"], check=True).stdout == "n1\n"


def test_slurm_conf_lines_of_the_user_hold() -> None:
    cluster = Cluster.up(NAME, nodes=1, slurm_conf=["PrologFlags=Contain", "KillWait=7"])
    shown = cluster.run(["scontrol", "show", "config"], check=True).stdout
    settings = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    settings = {key.strip(): value.strip() for key, value in settings.items()}
    assert "Contain" in settings["PrologFlags"]
    assert settings["KillWait"].startswith("7 ")


def test_a_dead_slurmd_is_noticed_and_comes_back() -> None:
    cluster = Cluster.up(NAME, slurm_conf=["SlurmdTimeout=8", "MessageTimeout=4"])
    cluster.stop_slurmd("n2")
    deadline = time.monotonic() + 30
    while not cluster.status()[2].slurm.startswith("down"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    cluster.start_slurmd("n2")
    assert cluster.run(["srun", "-w", "n2", "hostname"], check=True).stdout == "n2\n"


def test_a_line_that_slurm_does_not_know_is_reported_and_nothing_stays() -> None:
    with pytest.raises(ShimError) as failure:
        Cluster.up(NAME, nodes=1, slurm_conf=["NoSuchParameter=1"])
    assert "NoSuchParameter" in failure.value.message
    assert not directory_of(NAME).exists()
    assert list(holders_of(NAME)) == []


def test_anyone_but_root_is_refused_in_one_sentence() -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(ShimError) as refusal:
            Cluster.up(NAME)
    finally:
        os.seteuid(0)
    assert "root" in refusal.value.message
    assert "sudo" in refusal.value.hint
    assert refusal.value.message.count(".") == 1


@pytest.mark.slow_image
@pytest.mark.parametrize(("suite", "version"), [("bookworm", "22.05"), ("sid", "26.05")])
def test_other_suites_come_up_and_run_a_job(suite: str, version: str) -> None:
    cluster = Cluster.up(NAME, suite=suite, cpus=4)
    namespaces = own_namespaces(cluster)
    assert version in cluster.run(["srun", "--version"], check=True).stdout
    nodes = cluster.run(["srun", "-N2", "-n2", "hostname"], check=True).stdout
    assert sorted(nodes.split()) == ["n1", "n2"]
    cluster.down()
    assert_nothing_of(NAME, namespaces)
