"""Who starts the agent: exactly one rank per step and node, whatever happened before."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.frontend.desk import Desk, alive, eventually


def run_step(desk: Desk, tasks: int, *command: str, **extra: str) -> list[tuple[int, str, str]]:
    """All tasks of one step at the same time."""
    ranks = [
        desk.start("exec", "image", *command, env=desk.step(tasks, rank, **extra))
        for rank in range(tasks)
    ]
    texts = [rank.communicate(timeout=60) for rank in ranks]
    return [(rank.returncode, out, err) for rank, (out, err) in zip(ranks, texts, strict=True)]


def test_ranks_that_come_at_once_share_one_agent(desk: Desk) -> None:
    seen = run_step(desk, 24, "sh", "-c", "echo $SHIM_RANK $SLURM_PROCID")
    assert seen == [(0, f"{rank} {rank}\n", "") for rank in range(24)]
    assert len(desk.events("agent")) == 1


def test_the_agent_is_the_lowest_rank_of_its_node(desk: Desk) -> None:
    env = {"SLURM_GTIDS": "9,4,6"}
    for rank in (9, 4, 6):
        desk.start("exec", "image", "true", env={**desk.step(12, rank), **env})
    assert eventually(lambda: len(desk.events("gone")) == 3)
    assert [agent["rank"] for agent in desk.events("agent")] == ["4"]


def test_a_rank_stays_the_process_that_was_launched(desk: Desk) -> None:
    process = desk.start("exec", "image", "sh", "-c", "echo $$")
    out, _ = process.communicate(timeout=30)
    assert int(out) == process.pid


def test_nothing_is_left_of_a_step(desk: Desk) -> None:
    assert desk.exec("true").returncode == 0
    (agent,) = desk.events("agent")
    assert eventually(lambda: not desk.step_dirs() and not alive(agent["pid"]))


def test_steps_with_strange_names_are_kept_apart(desk: Desk) -> None:
    nodes = ["n/1", "n:1", "n 1", "nöde", "x" * 300, "..", "$(id)"]
    for name in nodes:
        env = desk.step(1, 0, SLURMD_NODENAME=name, SLURM_JOB_NAME='a"b\n')
        assert desk.run("exec", "image", "true", env=env).returncode == 0
    assert len(desk.events("agent")) == len(nodes)


def test_ranks_of_another_launcher_inside_a_step_are_its_own(desk: Desk) -> None:
    env = {"PMIX_NAMESPACE": "prterun-n1-77@1", "PMIX_RANK": "3"}
    seen = desk.run("exec", "image", "sh", "-c", "echo $SHIM_RANK", env={**desk.step(1, 0), **env})
    assert seen.stdout == "3\n"


def test_a_dead_steps_socket_is_replaced(desk: Desk, tmp_path: Path) -> None:
    directory = desk.runtime_dir / f"shim-{os.geteuid()}" / f"7.0.{socket.gethostname()}"
    directory.parent.mkdir(mode=0o700)
    directory.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(directory / "agent.sock"))
    (directory / "said").touch()
    seen = run_step(desk, 2, "true")
    assert [code for code, _, _ in seen] == [0, 0]


def test_directories_of_dead_steps_are_swept(desk: Desk) -> None:
    user = desk.runtime_dir / f"shim-{os.geteuid()}"
    user.mkdir(mode=0o700)
    for name in ("1.0.n", "2.0.n"):
        (user / name / "bin").mkdir(parents=True, mode=0o700)
        (user / name).chmod(0o700)
        (user / name / "bin/singularity").symlink_to("/nowhere")
        (user / name / "lock").touch()
    assert desk.exec("true").returncode == 0
    assert eventually(lambda: not user.exists())


def test_a_living_steps_directory_is_not_swept(desk: Desk) -> None:
    long = desk.start("exec", "image", "sleep", "60", env=desk.step(1, 0))
    assert eventually(lambda: desk.events("started"))
    assert desk.exec("true").returncode == 0
    late = desk.events("agent")[-1]["pid"]
    assert eventually(lambda: not alive(late))
    assert len(desk.step_dirs()) == 1
    long.terminate()
    assert long.wait(timeout=10) == -signal.SIGTERM


def test_a_runtime_directory_with_a_long_path_works(desk: Desk, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    assert desk.exec("true", SHIM_RUNTIME_DIR=str(deep)).returncode == 0


def test_a_directory_of_another_user_is_refused(desk: Desk) -> None:
    user = desk.runtime_dir / f"shim-{os.geteuid()}"
    user.mkdir(mode=0o777)
    user.chmod(0o777)
    seen = desk.exec("true")
    assert seen.returncode == 125
    assert "belongs to another user or is open to others" in seen.stderr


def test_a_link_in_place_of_the_directory_is_refused(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (desk.runtime_dir / f"shim-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    seen = desk.exec("true")
    assert seen.returncode == 125
    assert "Remove it or set SHIM_RUNTIME_DIR" in seen.stderr


def test_an_unusable_runtime_directory_is_named(desk: Desk) -> None:
    seen = desk.exec("true", SHIM_RUNTIME_DIR="/proc/nowhere")
    assert seen.returncode == 125
    assert "SHIM_RUNTIME_DIR is '/proc/nowhere'" in seen.stderr


@pytest.mark.parametrize(
    ("env", "advice"),
    [
        (
            {
                "SLURM_JOB_ID": "1",
                "SLURM_STEP_ID": "0",
                "SLURM_PROCID": "0",
                "SLURM_STEP_NUM_TASKS": "4",
            },
            "srun --mpi=pmix",
        ),
        ({"PMI_SIZE": "4", "PMI_RANK": "0"}, "prterun"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "prterun"),
    ],
)
def test_several_ranks_without_pmix_are_refused(
    desk: Desk, env: dict[str, str], advice: str
) -> None:
    seen = desk.exec("true", **env)
    assert seen.returncode == 125
    assert "of its own" in seen.stderr
    assert advice in seen.stderr
    assert "--no-pmix" in seen.stderr
    allowed = desk.run("exec", "--no-pmix", "image", "true", env=desk.environment(**env))
    assert allowed.returncode == 0


def test_a_batch_script_is_not_a_step_of_many_tasks(desk: Desk) -> None:
    env = {
        "SLURM_JOB_ID": "1",
        "SLURM_NTASKS": "8",
        "SLURM_PROCID": "0",
        "SLURM_STEP_ID": str(0xFFFFFFFB),
    }
    assert desk.exec("true", **env).returncode == 0


def test_an_interpreter_without_shim_is_named_by_one_rank(desk: Desk) -> None:
    desk.python.write_text("#!/bin/sh\nsleep 0.5\necho No module named shim >&2\nexit 1\n")
    seen = run_step(desk, 4, "true")
    assert {code for code, _, _ in seen} == {125}
    said = [err for _, _, err in seen if err]
    assert len(said) == 1
    assert "ended with status 1: No module named shim" in said[0]


def test_an_agent_that_does_not_answer_in_time_is_given_up(desk: Desk) -> None:
    start = time.monotonic()
    env = desk.environment(TEST_START_DELAY="30")
    seen = desk.run("exec", "--start-timeout", "1", "image", "true", env=env)
    assert seen.returncode == 125
    assert "did not start within 1 s" in seen.stderr
    assert time.monotonic() - start < 10


def test_a_long_wait_is_explained_by_one_rank(desk: Desk) -> None:
    seen = run_step(desk, 3, "true", TEST_START_DELAY="1")
    assert [err for _, _, err in seen if err] == ["shim: The container is starting.\n"]
