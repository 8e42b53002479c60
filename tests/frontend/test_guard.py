"""The guard: whatever ends the agent, the ranks end with one sentence, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.frontend.desk import Desk, alive, eventually


def start_ranks(desk: Desk, tasks: int, *command: str) -> list[subprocess.Popen[str]]:
    ranks = [
        desk.start("exec", "image", *command, env=desk.step(tasks, rank)) for rank in range(tasks)
    ]
    assert eventually(lambda: len(desk.events("started")) == tasks)
    return ranks


def guard_of(agent: int) -> int:
    status = Path(f"/proc/{agent}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid")))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_agent_takes_its_ranks_along(desk: Desk, number: signal.Signals) -> None:
    ranks = start_ranks(desk, 3, "sleep", "100")
    os.kill(desk.events("agent")[0]["pid"], number)
    texts = [rank.communicate(timeout=10) for rank in ranks]
    assert {rank.returncode for rank in ranks} == {-signal.SIGTERM}
    said = "".join(err for _, err in texts)
    assert said.count("shim:") == 1
    assert f"step 7.0 on node {os.uname().nodename} was killed by signal {number.value}" in said
    assert "its 3 rank(s) here are ended" in said
    assert eventually(lambda: not desk.step_dirs())


def test_a_rank_that_ignores_sigterm_is_killed(desk: Desk) -> None:
    (rank,) = start_ranks(desk, 1, "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    os.kill(desk.events("agent")[0]["pid"], signal.SIGKILL)
    assert rank.wait(timeout=10) == -signal.SIGKILL


def test_a_stopped_rank_is_ended_too(desk: Desk) -> None:
    (rank,) = start_ranks(desk, 1, "sleep", "100")
    rank.send_signal(signal.SIGSTOP)
    os.kill(desk.events("agent")[0]["pid"], signal.SIGKILL)
    assert rank.wait(timeout=10) == -signal.SIGTERM


def test_ranks_that_wait_when_the_agent_dies_end_with_our_code(desk: Desk) -> None:
    env = desk.step(2, 0, TEST_START_DELAY="60")
    ranks = [
        desk.start("exec", "image", "true", env={**env, "SLURM_PROCID": str(rank)})
        for rank in range(2)
    ]
    assert eventually(lambda: desk.events("agent"))
    # Both are to wait by then: one that came after the death would start an agent anew.
    time.sleep(0.5)
    os.kill(desk.events("agent")[0]["pid"], signal.SIGKILL)
    texts = [rank.communicate(timeout=10) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [125, 125]
    said = [line for _, err in texts for line in err.splitlines() if line.startswith("shim:")]
    # A line of progress may come before it, if the wait was long.
    sentences = [line for line in said if line != "shim: The container is starting."]
    assert len(sentences) == 1
    assert sentences[0].startswith("shim: The agent of step")


def test_the_agent_ends_with_its_guard(desk: Desk) -> None:
    (rank,) = start_ranks(desk, 1, "sleep", "100")
    agent = desk.events("agent")[0]["pid"]
    os.kill(guard_of(agent), signal.SIGKILL)
    # The test's agent ignores SIGTERM as the real one does under scancel; the kernel's
    # parent-death signal is that signal, so what shows is that it was sent.
    assert eventually(lambda: desk.events("terminated"))
    rank.kill()
    rank.wait(timeout=10)
    assert eventually(lambda: not alive(agent))


def test_the_guard_outlives_the_signals_of_a_terminal(desk: Desk) -> None:
    (rank,) = start_ranks(desk, 1, "sleep", "100")
    agent = desk.events("agent")[0]["pid"]
    guard = guard_of(agent)
    assert os.getsid(guard) != os.getsid(rank.pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guard, number)
    assert not eventually(lambda: not alive(guard), seconds=0.3)
    rank.terminate()
    assert rank.wait(timeout=10) == -signal.SIGTERM
    assert eventually(lambda: not alive(guard))


def test_the_guard_holds_none_of_the_programs_files(desk: Desk) -> None:
    (rank,) = start_ranks(desk, 1, "sleep", "100")
    agent = desk.events("agent")[0]["pid"]
    pipe = os.readlink(f"/proc/{rank.pid}/fd/1")
    for pid in (agent, guard_of(agent)):
        open_files = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert pipe not in open_files
    rank.kill()
    rank.wait(timeout=10)


def test_shim_run_agents_status_is_the_tasks(desk: Desk) -> None:
    desk.python.write_text('#!/bin/sh\nshift 4\necho "$@"\nexit 9\n')
    seen = desk.run("_agent", "--spec", "x")
    words = seen.stdout.split()
    assert seen.returncode == 9
    assert words[0::2][:4] == ["--listen-fd", "--guard-fd", "--run-dir", "--key"]
    assert words[8:] == ["--spec", "x"]
    assert eventually(lambda: not desk.step_dirs())


def test_signals_reach_the_agent_of_shim_run(desk: Desk) -> None:
    desk.python.write_text(
        '#!/bin/sh\nfor s in TERM USR1; do trap "echo $s; exit 3" $s; done\n'
        "echo ready; while :; do sleep 0.1; done\n"
    )
    task = desk.start("_agent")
    assert task.stdout is not None
    assert task.stdout.readline() == "ready\n"
    task.send_signal(signal.SIGUSR1)
    assert task.communicate(timeout=10)[0] == "USR1\n"
    assert task.returncode == 3
