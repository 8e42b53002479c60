"""Environment variables around libpmix, and what it prints."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import logging
import os
from pathlib import Path

import pytest

from pmix_server import PmixError, environment
from pmix_server.directories import private_directory
from pmix_server.messages import VARIABLE, Messages, is_harmless

NAMES = ("PMIX_NAMESPACE", "PMIX_MCA_gds", "PMIX_NEW")
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p


def getenv(name: str) -> str | None:
    """What libpmix would see."""
    value: bytes | None = libc.getenv(name.encode())
    return None if value is None else value.decode()


def test_only_the_given_variables_are_seen_while_libpmix_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PMIX_NAMESPACE", "launcher")
    monkeypatch.setenv("PMIX_MCA_gds", "ds21")
    monkeypatch.setenv("SLURM_JOBID", "1")
    python_sees = dict(os.environ)
    with environment.only({"PMIX_MCA_gds": "hash", "PMIX_NEW": "1"}):
        seen = {name: getenv(name) for name in NAMES}
        assert seen == {"PMIX_NAMESPACE": None, "PMIX_MCA_gds": "hash", "PMIX_NEW": "1"}
        assert getenv("SLURM_JOBID") == "1"
        assert dict(os.environ) == python_sees  # other threads may be reading it
    seen = {name: getenv(name) for name in NAMES}
    assert seen == {"PMIX_NAMESPACE": "launcher", "PMIX_MCA_gds": "ds21", "PMIX_NEW": None}


def test_they_are_restored_when_libpmix_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMIX_RANK", "3")
    with pytest.raises(RuntimeError), environment.only({}):
        raise RuntimeError
    assert getenv("PMIX_RANK") == "3"


def test_a_rank_keeps_everything_but_the_launchers_pmix() -> None:
    env = {"PMIX_RANK": "1", "PMIX_MCA_psec": "munge", "SLURM_PMIXP_X": "y", "PATH": "/bin"}
    assert environment.without_launcher(env) == {"SLURM_PMIXP_X": "y", "PATH": "/bin"}


SLURM = {"SLURM_JOBID": "1", "SLURM_NODELIST": "n1", "SLURM_STEP_ID": "0"}


@pytest.mark.parametrize("env", [SLURM, {"FLUX_JOB_ID": "f"}])
def test_open_mpi_needs_no_help_where_a_launcher_shows(env: dict[str, str]) -> None:
    assert environment.direct_launch(env, "77") == {}


@pytest.mark.parametrize("missing", SLURM)
def test_open_mpi_is_told_of_a_direct_launch_elsewhere(missing: str) -> None:
    env = {name: value for name, value in SLURM.items() if name != missing}
    assert environment.direct_launch(env, "77") == {"FLUX_JOB_ID": "77"}


def test_messages_go_to_the_log_whole_and_without_the_harmless(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harmless = "PMIX ERROR: PMIX_ERR_UNPACK_READ_PAST_END_OF_BUFFER in file a/bfrop_pmix41.c at 6\n"
    assert is_harmless(harmless)

    async def scenario() -> None:
        messages = Messages()
        fd = int(messages.open()[VARIABLE])
        os.write(fd, b"first li")
        await asyncio.sleep(0.01)
        os.write(fd, b"ne\n" + harmless.encode() + b"last line\n")
        messages.close()

    with caplog.at_level(logging.DEBUG, "libpmix"):
        asyncio.run(scenario())
    assert [record.message for record in caplog.records] == ["first line", "last line"]


def test_a_full_pipe_costs_messages_not_time() -> None:
    async def scenario() -> None:
        messages = Messages()
        fd = int(messages.open()[VARIABLE])
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
        os.write(fd, b"x" * 4096)
        with pytest.raises(BlockingIOError):
            os.write(fd, b"x")
        messages.close()

    asyncio.run(scenario())


def test_a_directory_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PmixError, match="cannot be made") as error:
        private_directory(tmp_path / "file" / "below")
    assert error.value.hint
