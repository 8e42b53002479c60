"""`shim report` on real processes: found by their environment, judged by what the kernel says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpusets import CpuSet, RankReport, get_affinity, set_affinity, to_json
from shim.affinity.live import memory_policy, places_of
from shim.affinity.running import running_ranks
from shim.cli import main

NAMESPACE = f"affinity-test-{os.getpid()}"
# A shell that waits for its child, as `bash -c "./app; cleanup"` does.
PROGRAM = f"{sys.executable} -c \"import sys; print('up', flush=True); sys.stdin.read()\"; true"


@pytest.fixture
def rank() -> Iterator[subprocess.Popen[bytes]]:
    """Rank 5 of a job, with two OpenMP threads planned on our first CPU, and a child process."""
    first = get_affinity().first()
    env = {
        **os.environ,
        "PMIX_NAMESPACE": NAMESPACE,
        "PMIX_RANK": "5",
        "OMP_NUM_THREADS": "2",
        "OMP_PLACES": f"{{{first}}}",
    }
    with subprocess.Popen(
        ["/bin/sh", "-c", PROGRAM], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield process
        process.stdin.close()


def shim_report(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["report", *arguments]) == 0
    return capsys.readouterr().out


def entry(capsys: pytest.CaptureFixture[str], pid: int, *arguments: str) -> dict[str, object]:
    data = json.loads(shim_report(capsys, "--json", *arguments))
    (found,) = (one for one in data["ranks"] if one["host_pid"] == pid)
    return dict(found)


def test_a_rank_is_its_first_process(rank: subprocess.Popen[bytes]) -> None:
    (found,) = (one for one in running_ranks() if one.namespace == NAMESPACE)
    assert (found.rank, found.pid, found.container_pid) == (5, rank.pid, rank.pid)
    assert len(found.descendants) == 1


def test_the_agent_and_what_it_started_are_no_ranks() -> None:
    env = {**os.environ, "PMIX_NAMESPACE": NAMESPACE, "PMIX_RANK": "9"}
    child = "import subprocess, sys; subprocess.run(['/bin/sh', '-c', 'echo up; read x; true'])"
    # The words after -c are arguments that Python ignores: this is what an agent's look like.
    with subprocess.Popen(
        [sys.executable, "-c", child, "-m", "shim.agent"],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as agent:  # fmt: skip
        assert agent.stdout is not None
        agent.stdout.readline()
        assert [one.rank for one in running_ranks() if one.namespace == NAMESPACE] == []
        agent.communicate()


def test_a_rank_that_sits_as_planned(
    rank: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    one = CpuSet.of([get_affinity().first()])
    set_affinity(one, rank.pid)
    found = entry(capsys, rank.pid)
    assert found["planned"] == found["effective"] == str(one)
    assert found["verdict"] == "2 threads on 1 CPUs"
    assert found["memory"] == "default"
    assert found["numa"] == "0"


def test_a_rank_that_left_its_plan(
    rank: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    mine = get_affinity()
    assert len(mine) > 1, "needs two CPUs"
    set_affinity(CpuSet.of([mine.last()]), rank.pid)
    assert str(entry(capsys, rank.pid)["verdict"]).startswith("bound elsewhere")


def test_the_plan_of_the_start_is_held_against_now(
    rank: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mine = get_affinity()
    start = [
        RankReport(5, "here", rank.pid, rank.pid, mine, mine, 1, "ok"),
        RankReport(6, "elsewhere", 1, 1, mine, mine, 1, "ok"),
    ]
    path = tmp_path / "start.json"
    path.write_text(to_json(start), encoding="utf-8")
    set_affinity(CpuSet.of([mine.first()]), rank.pid)
    data = json.loads(shim_report(capsys, "--json", str(path)))
    assert [one["rank"] for one in data["ranks"]] == [5, 6]
    assert "narrowed by the program itself" in data["ranks"][0]["verdict"]
    assert data["ranks"][0]["node"] == "here"
    assert data["ranks"][1]["verdict"] == "ok"


def test_every_thread_is_shown_and_mistakes_are_named(
    rank: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    set_affinity(CpuSet.of([get_affinity().first()]), rank.pid)
    text = shim_report(capsys, "--threads", "--job", NAMESPACE)
    assert str(rank.pid) in text
    assert "python" in text
    assert "OMP_NUM_THREADS=2 starts 2 threads on 1 CPUs" in text


def test_a_job_that_is_not_here_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--job", "nobody's"]) == 125
    assert "No rank of yours" in capsys.readouterr().err


def test_a_file_that_is_no_report_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for content in ("", "[]", '{"schema": "other/9"}', '{"schema": "shim.affinity/1", "ranks": 3}'):
        path = tmp_path / "bad.json"
        path.write_text(content, encoding="utf-8")
        assert main(["report", str(path)]) == 125
        assert len(capsys.readouterr().err.strip().splitlines()) == 2
    assert main(["report", str(tmp_path / "missing.json")]) == 125


def test_places_are_read_back_as_they_are_written() -> None:
    assert places_of("{0:2,8},{4}") == CpuSet.parse("0-1,4,8")
    assert places_of("cores") == CpuSet()


def test_the_memory_policy_of_a_process_is_read(rank: subprocess.Popen[bytes]) -> None:
    assert memory_policy(rank.pid) == "default"
    assert memory_policy(2**22 - 1) == ""
