"""Ranks that have joined a container on a real node: their life, and what ends it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.frontend.bench import Bench
from tests.frontend.desk import eventually

pytestmark = pytest.mark.cluster

RECORD = "/shared/bench/record"
RUNNING: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _fresh(bench: Bench) -> Iterator[None]:
    record = bench.host / "record"
    record.unlink(missing_ok=True)
    yield
    for process in RUNNING:
        if process.poll() is None:
            process.kill()
        process.communicate()
    RUNNING.clear()
    assert eventually(lambda: not bench.cluster.leftovers("demo")), bench.cluster.leftovers("demo")


def events(bench: Bench, kind: str) -> list[dict[str, Any]]:
    path = bench.host / "record"
    if not path.exists():
        return []
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [entry for entry in entries if entry["event"] == kind]


def step(bench: Bench, tasks: int, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    launcher = ["srun", "--mpi=pmix", "--overcommit", f"-n{tasks}", "-w", "n1"]
    return bench.run([*launcher, "shim", "exec", *words], env={"TEST_RECORD": RECORD, **env})


def start(bench: Bench, tasks: int, *words: str) -> subprocess.Popen[str]:
    """A step whose ranks run until they are ended; returns when their programs run."""
    env = bench.environment({"TEST_RECORD": RECORD})
    launcher = ["srun", "--mpi=pmix", "--overcommit", f"-n{tasks}", "-w", "n1"]
    process = launch(bench, [*launcher, "shim", "exec", *words], env=env)
    assert eventually(lambda: len(events(bench, "started")) == tasks, 20)
    return process


def launch(bench: Bench, words: list[str], **options: Any) -> subprocess.Popen[str]:
    """Start a command that the test's end ends, if nothing else does."""
    process = bench.cluster.popen(words, **options)
    RUNNING.append(process)
    return process


def start_script(bench: Bench, tasks: int, *options: str, trap: str) -> subprocess.Popen[str]:
    """A step of shells that wait for a signal; returns when all have set their *trap*."""
    ready = bench.host / "ready"
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir()
    ready.chmod(0o777)
    script = f"{trap}; : >{bench.inside}/ready/$SLURM_PROCID; while :; do sleep 0.1; done"
    process = start(bench, tasks, *options, bench.image, "sh", "-c", script)
    assert eventually(lambda: len(list(ready.iterdir())) == tasks)
    return process


def find(bench: Bench, *parts: str) -> list[int]:
    """Pids, in the node's eyes, of processes whose command line contains all *parts*."""
    listed = bench.run(["ps", "-eo", "pid=,args="]).stdout.splitlines()
    found = [line.split(None, 1) for line in listed]
    return [int(pid) for pid, args in found if all(part in args for part in parts)]


def finish(process: subprocess.Popen[str], seconds: float = 10) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
@pytest.mark.parametrize("options", [[], ["--pid"]])
def test_srun_sees_the_programs_end(
    bench: Bench, script: str, code: int, options: list[str]
) -> None:
    seen = step(bench, 1, *options, bench.image, "sh", "-c", script)
    assert seen.returncode == code, seen.stderr


def test_ranks_share_one_container_and_one_file_system_server(bench: Bench) -> None:
    job = start(bench, 4, bench.image, "sleep", "100")
    assert len(find(bench, "squashfuse")) == 1
    assert len(find(bench, "shim-keeper")) + len(find(bench, "_hold")) == 1
    spaces = bench.run(
        ["sh", "-c", "for p in $(pgrep -x sleep -u demo); do readlink /proc/$p/ns/user; done"]
    ).stdout.split()
    assert len(spaces) == 4
    assert len(set(spaces)) == 1
    job.terminate()
    finish(job, 40)


def test_the_rank_is_the_task_of_slurmstepd(bench: Bench) -> None:
    script = "echo $SLURM_TASK_PID $$"
    seen = step(bench, 2, bench.image, "sh", "-c", script)
    for line in seen.stdout.splitlines():
        task, own = line.split()
        assert task == own


def test_the_host_pid_of_a_rank_in_a_pid_namespace_is_known(bench: Bench) -> None:
    job = start(bench, 1, "--pid", bench.image, "sleep", "100")
    (bound,) = events(bench, "bound")
    assert bound["pid"] != bound["host_pid"] != bound["peer"]
    assert find(bench, "sleep 100").count(bound["host_pid"]) == 1
    job.terminate()
    finish(job, 40)


@pytest.mark.parametrize("options", [[], ["--pid"]])
def test_signals_reach_the_program(bench: Bench, options: list[str]) -> None:
    job = start_script(bench, 1, *options, trap="trap 'echo got; exit 3' USR1")
    number = bench.run(["squeue", "-h", "-o", "%i"]).stdout.split()[0]
    bench.run(["scancel", "--signal=USR1", f"{number}.0"])
    code, out, err = finish(job)
    assert (code, out) == (3, "got\n"), err


def test_a_program_can_still_use_its_container_after_scancel(bench: Bench) -> None:
    """scancel signals every process of the step; the container must outlive its ranks."""
    job = start_script(bench, 2, trap="trap 'sleep 0.5; cat /etc/passwd; tool late; exit 4' TERM")
    number = bench.run(["squeue", "-h", "-o", "%i"]).stdout.split()[0]
    bench.run(["scancel", number])
    _, out, err = finish(job, 20)
    assert out.count("root:x:0:0") == 2, err
    assert out.count("tool late") == 2, err


@pytest.mark.parametrize(
    ("victim", "cause"),
    [
        (("plain_agent",), "was killed by signal 9"),
        (("_hold",), "The process that keeps the container ended"),
        (("squashfuse",), "The server of the container's file system"),
        (("Apptainer runtime parent",), "The container runtime ended"),
    ],
)
def test_whatever_dies_the_step_ends_with_one_sentence(
    bench: Bench, victim: tuple[str, ...], cause: str
) -> None:
    job = start(bench, 3, bench.image, "sleep", "100")
    pids = find(bench, *victim)
    began = time.monotonic()
    bench.run(["kill", "-9", str(pids[0])])
    code, _, err = finish(job)
    assert code != 0
    assert time.monotonic() - began < 10
    said = [
        line for line in err.splitlines() if line.startswith("shim: ") and "starting" not in line
    ]
    assert len(said) == 1, err
    assert cause in said[0]


def test_a_killed_leader_does_not_take_the_container_along(bench: Bench) -> None:
    script = "[ $SLURM_PROCID = 0 ] && kill -9 $$; sleep 1; tool alive"
    launcher = ["srun", "--mpi=pmix", "--overcommit", "-n3", "--kill-on-bad-exit=0", "-w", "n1"]
    seen = bench.run([*launcher, "shim", "exec", bench.image, "sh", "-c", script])
    assert seen.stdout == "tool alive\n" * 2, seen.stderr


def test_steps_side_by_side_do_not_disturb_each_other(bench: Bench) -> None:
    script = (
        "for i in 1 2 3; do srun --exact --overlap --mpi=pmix --overcommit -n2 "
        f"shim exec {bench.image} sh -c 'sleep 0.3; echo $SLURM_STEP_ID' & done; wait"
    )
    seen = bench.run(["salloc", "-w", "n1", "-n1", "--overcommit", "sh", "-c", script])
    assert sorted(seen.stdout.split()) == ["0", "0", "1", "1", "2", "2"], seen.stderr


def test_two_users_on_one_node(bench: Bench) -> None:
    words = ["shim", "exec", bench.image, "sh", "-c", "sleep 0.5; id -un 2>/dev/null || id -u"]
    jobs = [
        launch(bench, words, user=user, node="n1", env=bench.environment())
        for user in ("demo", "other")
    ]
    ends = [finish(job, 30) for job in jobs]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert [out for _, out, _ in ends] == ["demo\n", "other\n"]


def test_twenty_in_a_row(bench: Bench) -> None:
    for number in range(20):
        seen = bench.exec(bench.image, "sh", "-c", f"exit {number}")
        assert seen.returncode == number, seen.stderr


def test_a_stopped_rank_in_a_pid_namespace_is_seen_stopped(bench: Bench) -> None:
    job = start(bench, 1, "--pid", bench.image, "sleep", "100")
    (bound,) = events(bench, "bound")
    bench.run(["kill", f"-{signal.SIGTSTP.value}", str(bound["peer"])])
    state = ["ps", "-o", "stat=", "-p", f"{bound['peer']},{bound['host_pid']}"]
    assert eventually(lambda: bench.run(state).stdout.split() == ["T", "T"])
    bench.run(["kill", f"-{signal.SIGCONT.value}", str(bound["peer"])])
    assert eventually(lambda: "T" not in bench.run(state).stdout)
    job.terminate()
    finish(job, 40)
