"""Front-ends on this machine: real election, guard and tickets, but no container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_WRAPPER = f"""\
#!/bin/sh
shift 4
PYTHONPATH={ROOT} exec {sys.executable} -P -m tests.frontend.plain_agent "$@"
"""


class Desk:
    """Starts `shim exec` as a launcher would, with the test's agent in place of shim.agent."""

    def __init__(self, frontend: Path, directory: Path) -> None:
        self.frontend = frontend
        self.runtime_dir = directory / "run"
        self.runtime_dir.mkdir()
        self.record = directory / "record"
        self.python = directory / "python"
        self.python.write_text(_WRAPPER)
        self.python.chmod(0o755)
        self._started: list[subprocess.Popen[str]] = []

    def close(self) -> None:
        """End what a test left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            process.wait()

    def environment(self, **extra: str) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "SHIM_PYTHON": str(self.python),
            "SHIM_RUNTIME_DIR": str(self.runtime_dir),
            "TEST_NATIVE": "1",
            "TEST_RECORD": str(self.record),
            **extra,
        }

    def step(self, tasks: int, rank: int, **extra: str) -> dict[str, str]:
        """What slurmstepd gives a task of a PMIx step on one node."""
        return self.environment(
            SLURM_JOB_ID="7",
            SLURM_STEP_ID="0",
            SLURM_PROCID=str(rank),
            SLURM_GTIDS=",".join(map(str, range(tasks))),
            SLURM_STEP_NUM_TASKS=str(tasks),
            PMIX_NAMESPACE="slurm.pmix.7.0",
            PMIX_RANK=str(rank),
            **extra,
        )

    def start(
        self, *words: str, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(self.frontend), *words],
            env=self.environment() if env is None else env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self._started.append(process)
        return process

    def run(
        self, *words: str, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*words, env=env, **options)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def exec(self, *command: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """`shim exec image COMMAND` as the only rank."""
        return self.run("exec", "image", *command, env=self.environment(**extra))

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the agents recorded."""
        if not self.record.exists():
            return []
        entries = [json.loads(line) for line in self.record.read_text().splitlines()]
        return [entry for entry in entries if entry["event"] == kind]

    def step_dirs(self) -> list[Path]:
        return list(self.runtime_dir.glob("shim-*/*"))


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether *condition* becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z" and os.path.exists(f"/proc/{pid}")
