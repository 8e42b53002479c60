"""A running cluster: what its users and the tests of other rooms may rely on."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shim.errors import ShimError
from testbed import Cluster, CommandFailed

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]


def shim_cluster(cluster: Cluster, *words: str) -> list[str]:
    """``shim cluster ACTION --name NAME …`` as run from this checkout."""
    action, *rest = words
    return [sys.executable, "-m", "shim", "cluster", action, "--name", cluster.name, *rest]


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_slurm_runs_a_task_on_every_node(cluster: Cluster) -> None:
    ran = cluster.run(["srun", "-N2", "hostname"], check=True)
    assert sorted(ran.stdout.split()) == ["n1", "n2"]


def test_mpi_processes_wire_up_through_slurms_pmix(cluster: Cluster) -> None:
    program = cluster.home() / "size.c"
    program.write_text(
        "#include <mpi.h>\n#include <stdio.h>\n"
        "int main(void) { int n; MPI_Init(0, 0); MPI_Comm_size(MPI_COMM_WORLD, &n);"
        ' printf("%d\\n", n); return MPI_Finalize(); }\n'
    )
    cluster.run(["mpicc", "size.c", "-o", "size"], check=True)
    ran = cluster.run(["srun", "--mpi=pmix", "-N2", "-n4", "./size"], check=True)
    assert ran.stdout.split() == ["4"] * 4


def test_slurm_binds_tasks_to_true_cpus(cluster: Cluster) -> None:
    # One CPU of the two that the step has.
    show = ["grep", "Cpus_allowed_list", "/proc/self/status"]
    ran = cluster.run(["srun", "-n1", "-c2", "--cpu-bind=map_cpu:1", *show], check=True)
    assert ran.stdout.split()[-1] == "1"


@pytest.mark.parametrize("user", ["demo", "other", "root"])
def test_a_command_gets_the_environment_of_a_login_and_nothing_else(
    cluster: Cluster, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAK", "1")
    monkeypatch.setenv("PYTHONPATH", "/leak")
    out = cluster.run(["sh", "-c", "id -un; pwd; env"], user=user, check=True).stdout
    name, directory, *lines = out.splitlines()
    environment = dict(line.split("=", 1) for line in lines)
    home = "/root" if user == "root" else f"/home/{user}"
    assert (name, directory) == (user, home)
    assert environment.keys() - {"TERM", "PWD", "SHLVL", "_"} == {
        *("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER")
    }
    assert "/usr/local/bin" in environment["PATH"].split(":")


def test_environment_directory_and_input_are_passed(cluster: Cluster) -> None:
    ran = cluster.run(
        ["sh", "-c", 'echo "$A"; pwd; cat'], env={"A": "b c=d"}, cwd="/shared", input="in\n"
    )
    assert ran.stdout == "b c=d\n/shared\nin\n"


def test_exit_codes_and_signals_arrive_as_they_are(cluster: Cluster) -> None:
    assert cluster.run(["sh", "-c", "exit 7"]).returncode == 7
    assert cluster.run(["sh", "-c", "kill -USR1 $$"]).returncode == -signal.SIGUSR1
    with pytest.raises(CommandFailed, match="no luck"):
        cluster.run(["sh", "-c", "echo no luck >&2; exit 1"], check=True)


def test_a_time_out_ends_the_command_and_its_children(cluster: Cluster) -> None:
    with pytest.raises(subprocess.TimeoutExpired) as late:
        cluster.run(["sh", "-c", "echo begun; sleep 300 & sleep 300"], timeout=0.5)
    assert late.value.output == "begun\n"
    eventually(lambda: "sleep 300" not in cluster.node_pids("head").values())


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_signals_of_a_running_command_reach_it_on_the_node(
    cluster: Cluster, sent: signal.Signals
) -> None:
    with cluster.popen(["sleep", "300"], node="n1") as process:
        process.send_signal(sent)
        assert process.wait(5) == -sent


def test_a_stopped_command_goes_on(cluster: Cluster) -> None:
    with cluster.popen(
        ["sh", "-c", "echo one; read x; echo two"], stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        inner = process.inner_pid
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: state_of(inner) == "T")
        process.send_signal(signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "two\n"


def state_of(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_home_and_shared_are_common_to_all_nodes_and_users(cluster: Cluster) -> None:
    cluster.run(["sh", "-c", "echo hello >/shared/demo.txt"], node="n1", check=True)
    assert (cluster.shared / "demo.txt").read_text() == "hello\n"
    seen = cluster.run(["cat", "/shared/demo.txt"], user="other", node="n2", check=True)
    assert seen.stdout == "hello\n"
    assert cluster.run(["rm", "-f", "/shared/demo.txt"], user="other").returncode == 1
    cluster.run(["touch", "mark"], node="n1", check=True)
    assert cluster.run(["ls", "mark"], node="n2").returncode == 0
    assert (cluster.home("demo") / "mark").exists()


def test_nodes_have_their_own_tmp_shm_and_hostname(cluster: Cluster) -> None:
    for place in ("/tmp", "/dev/shm"):
        cluster.run(["touch", f"{place}/only-here"], node="n1", check=True)
        assert cluster.run(["ls", f"{place}/only-here"], node="n2").returncode != 0
        assert not Path(place, "only-here").exists()
        cluster.run(["rm", f"{place}/only-here"], node="n1", check=True)
    assert cluster.run(["hostname"], node="n2").stdout == "n2\n"


def test_nothing_outside_the_cluster_can_be_reached(cluster: Cluster) -> None:
    routes = cluster.run(["ip", "route"], node="n1").stdout
    assert "default" not in routes
    assert len(routes.splitlines()) == 1


def test_a_container_runs_as_an_ordinary_user(cluster: Cluster) -> None:
    # The smallest root file system that is one: a static program and the directories that the
    # runtime mounts on.
    source = cluster.home() / "hello.c"
    source.write_text(
        '#include <unistd.h>\nint main(void) { write(1, "inside\\n", 7); return 0; }\n'
    )
    build = (
        "mkdir -p box/bin box/etc box/tmp box/dev box/proc box/sys box/home && "
        "touch box/etc/passwd box/etc/group box/etc/resolv.conf box/etc/hosts && "
        "gcc -static -o box/bin/hello hello.c"
    )
    cluster.run(["sh", "-c", build], check=True)
    ran = cluster.run(["srun", "-N2", "apptainer", "exec", "box", "/bin/hello"], check=True)
    assert ran.stdout == "inside\n" * 2


def test_demo_logs_in_to_the_head_by_ssh_from_here_and_from_a_node(cluster: Cluster) -> None:
    ssh = ["ssh", "-o", "BatchMode=yes"]
    here = subprocess.run(
        [*ssh, "-F", str(cluster.ssh_config), "head", "hostname; id -un"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert here.stdout == "head\ndemo\n"
    there = cluster.run([*ssh, "head", "hostname"], user="other", node="n1", check=True)
    assert there.stdout == "head\n"


def test_shim_is_installed_on_every_node(cluster: Cluster) -> None:
    for node in ("head", *cluster.nodes):
        ran = cluster.run(["shim", "--version"], node=node, check=True)
        assert ran.stdout.startswith("shim ")
        touched = cluster.run(["touch", "/usr/local/bin/shim"], user="root", node=node)
        assert "Read-only" in touched.stderr


def test_an_ordinary_user_is_told_that_root_is_needed(cluster: Cluster) -> None:
    refused = cluster.run(["shim", "cluster", "up"])
    assert refused.returncode == 125
    assert "root" in refused.stderr
    assert "sudo" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_up_returns_the_cluster_that_is_up_and_refuses_another_make(cluster: Cluster) -> None:
    again = Cluster.up(cluster.name, nodes=2)
    assert again.pid("n1") == cluster.pid("n1")
    with pytest.raises(ShimError, match="is not the one asked for"):
        Cluster.up(cluster.name, nodes=3)
    assert cluster.run(["true"]).returncode == 0


@pytest.fixture
def fresh() -> Iterator[Cluster]:
    """A cluster in which no other test has run."""
    up = Cluster.up("shim-test-fresh", nodes=2, replace_other=True)
    yield up
    up.down()


def test_a_fresh_cluster_has_no_leftovers_and_each_kind_is_found(fresh: Cluster) -> None:
    cluster = fresh
    assert not cluster.leftovers(), str(cluster.leftovers())
    job = cluster.popen(["srun", "-w", "n1", "-J", "probe", "sleep", "300"])
    make = "ipcmk -M 64 >/dev/null; touch /tmp/t /dev/shm/s; mkdir -p .apptainer/instances/app"
    cluster.run(["sh", "-c", make + "; touch .apptainer/instances/app/i"], node="n1", check=True)
    cluster.run(["mount", "-t", "tmpfs", "x", "/mnt"], user="root", node="n2", check=True)
    try:
        eventually(lambda: len(cluster.leftovers("demo").queue) == 1)
        eventually(lambda: has_process(cluster, "n1", "/usr/bin/sleep 300"))
        found = cluster.leftovers("demo")
        assert "probe" in found.queue[0]
        assert found.mounts == ("n2: /mnt",)
        assert {"n1: /tmp/t", "n1: /dev/shm/s", "homes: /home/demo/.apptainer/instances/app/i"} < {
            *found.files
        }
        assert any("System V" in path for path in found.files)
        assert not cluster.leftovers("other").files
    finally:
        job.kill()
        job.communicate()
        cluster.run(["scancel", "--user=demo"], check=True)
        remove = "ipcrm --all=shm; rm -rf /tmp/t /dev/shm/s .apptainer"
        cluster.run(["sh", "-c", remove], node="n1", check=True)
        cluster.run(["umount", "/mnt"], user="root", node="n2", check=True)
    eventually(lambda: not cluster.leftovers(), 20)


def has_process(cluster: Cluster, node: str, command: str) -> bool:
    return any((p.node, p.command) == (node, command) for p in cluster.leftovers().processes)


def test_a_pulled_cable_cuts_a_node_off(cluster: Cluster) -> None:
    ping = ["nc", "-z", "-w", "1", cluster.address("head"), "22"]
    assert cluster.run(ping, node="n1").returncode == 0
    cluster.set_link("n1", up=False)
    try:
        assert cluster.run(ping, node="n1").returncode != 0
    finally:
        cluster.set_link("n1", up=True)
    eventually(lambda: cluster.run(ping, node="n1").returncode == 0)


def test_the_command_line_runs_reports_and_logs(cluster: Cluster) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            shim_cluster(cluster, *words), capture_output=True, text=True, cwd=ROOT, check=False
        )

    ran = call("exec", "--user", "other", "--node", "n1", "--", "sh", "-c", "id -un; exit 5")
    assert (ran.stdout, ran.returncode) == ("other\n", 5)
    status = call("status")
    assert status.returncode == 0
    assert all(node in status.stdout for node in ("head", "n1", "n2", "idle"))
    assert "slurmctld version" in call("logs").stdout
    assert "slurmd version" in call("logs", "n1").stdout
    unknown = call("exec", "--node", "n9", "--", "true")
    assert unknown.returncode == 125
    assert "n1, n2" in unknown.stderr


def test_exec_passes_the_terminal_and_its_keys(cluster: Cluster) -> None:
    trap = "trap 'echo caught; exit 9' INT; test -t 0 && echo ready; while :; do sleep 0.05; done"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        words = shim_cluster(cluster, "exec", "--", "sh", "-c", trap)
        os.execv(words[0], words)
    with open(terminal, "r+b", buffering=0) as screen:
        assert screen.read(7) == b"ready\r\n"
        screen.write(b"\x03")
        assert screen.read(20).startswith(b"^C")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_exec_passes_a_signal_on(cluster: Cluster) -> None:
    trap = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        shim_cluster(cluster, "exec", "--", "sh", "-c", trap),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "caught\n"
        assert process.wait(5) == 9
