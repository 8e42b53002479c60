"""How ranks end: in words, as a job's exit code, and what the kernel tells of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.agent.outcome import (
    CANCEL_PATIENCE,
    CRASH_PATIENCE,
    REQUEST_PATIENCE,
    from_return_code,
    how,
    job_code,
    patience,
)
from shim.exit_status import exit_status


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        (5 << 8, "ended with exit code 5", 5),
        (0, "ended with exit code 0", 1),
        (9, "was killed by signal 9 (Killed)", 137),
        (11 | 0x80, "was killed by signal 11 (Segmentation fault)", 139),
        (None, "ended", 1),
    ],
)
def test_an_end_in_words_and_as_a_code(status: int | None, words: str, code: int) -> None:
    assert (how(status), job_code(status)) == (words, code)


@given(st.one_of(st.integers(0, 255), st.integers(-64, -1)))
def test_a_job_that_ends_because_of_a_rank_never_succeeds(code: int) -> None:
    assert 1 <= job_code(from_return_code(code)) <= 255


@pytest.mark.parametrize(
    ("status", "seconds"),
    [
        (signal.SIGSEGV, CRASH_PATIENCE),
        (1 << 8, CRASH_PATIENCE),
        (None, CRASH_PATIENCE),
        (signal.SIGTERM, REQUEST_PATIENCE),
        (signal.SIGINT, REQUEST_PATIENCE),
    ],
)
def test_who_was_asked_to_end_is_waited_for(status: int | None, seconds: float) -> None:
    assert patience(status, cancelled=False) == seconds
    assert patience(status, cancelled=True) == CANCEL_PATIENCE


@pytest.mark.parametrize(("command", "status"), [("exit 7", 7 << 8), ("kill -KILL $$", 9)])
def test_the_status_of_a_process_that_is_not_ours(command: str, status: int) -> None:
    # Its parent, a shell, reaps it and goes on.
    script = f"sh -c 'read x; {command}' <&3 & echo $!; wait $!; read y"
    reading, writing = os.pipe()
    with subprocess.Popen(
        ["bash", "-c", f"exec 3<&{reading}; {script}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        pass_fds=(reading,),
    ) as shell:
        os.close(reading)
        assert shell.stdin
        assert shell.stdout
        pidfd = os.pidfd_open(int(shell.stdout.readline()))
        assert exit_status(pidfd) is None
        os.write(writing, b"\n")
        os.close(writing)
        deadline = time.monotonic() + 5
        while (found := exit_status(pidfd)) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.close(pidfd)
        shell.stdin.close()
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert found == (status if release >= (6, 15) else None)
