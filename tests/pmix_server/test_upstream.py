"""Each way of being the launcher's client, with our own server in the launcher's place."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pmix_server import PmixError, Status, open_upstream
from pmix_server.library import CLIENT_VARIABLE, SERVER_VARIABLE
from tests.pmix_server.programs import LIBRARIES, ROOT, Programs, failures, serve


def as_launcher(
    programs: Programs, tmp_path: Path, mode: str, *, launcher: str, server: str, client: str
) -> dict[str, Any]:
    """A job of two nodes whose three local ranks are small agents (agent.py)."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.pmix_server.agent"]
    return serve(
        {
            "nodes": [["nodeA", [0, 2, 3]], ["nodeB", [1]]],
            "tmpdir": str(tmp_path / "launcher"),
            "library": str(LIBRARIES[launcher]),
            "job_id": "55.1",
            "env": {
                "PYTHONPATH": str(ROOT),
                SERVER_VARIABLE: str(LIBRARIES[server]),
                CLIENT_VARIABLE: str(LIBRARIES[client]),
            },
            "command": [*command, mode, "s3cret", str(programs.ranks), "exchange", "100"],
        }
    )


def check(result: dict[str, Any]) -> None:
    """Every agent knew who it was, got the secret, served its rank and left in order."""
    assert failures(result) == []
    reports = [json.loads(rank["out"]) for rank in result["ranks"]]
    assert [report["rank"] for report in reports] == [0, 2, 3]
    for report in reports:
        assert report["size"] == 4
        assert report["nodes"] == [["nodeA", [0, 2, 3]], ["nodeB", [1]]]
        assert report["local"] == 0
        assert report["job_id"] == "55.1"
        assert report["fetched"] == "s3cret"
        assert report["codes"] == [0], report["errors"]


@pytest.mark.parametrize("launcher", LIBRARIES)
@pytest.mark.parametrize("server", LIBRARIES)
@pytest.mark.parametrize("client", LIBRARIES)
def test_isolated_two_copies_of_any_versions_in_one_process(
    programs: Programs, tmp_path: Path, launcher: str, server: str, client: str
) -> None:
    result = as_launcher(
        programs, tmp_path, "isolated", launcher=launcher, server=server, client=client
    )
    check(result)
    assert sorted(result["finalized"]) == [0, 2, 3]


@pytest.mark.parametrize("launcher", LIBRARIES)
def test_launcher_one_copy_is_both(programs: Programs, tmp_path: Path, launcher: str) -> None:
    result = as_launcher(
        programs, tmp_path, "launcher", launcher=launcher, server="wheel", client="wheel"
    )
    check(result)


@pytest.mark.parametrize("launcher", LIBRARIES)
@pytest.mark.parametrize("client", LIBRARIES)
def test_agent_the_client_is_a_helper_process(
    programs: Programs, tmp_path: Path, launcher: str, client: str
) -> None:
    result = as_launcher(
        programs, tmp_path, "agent", launcher=launcher, server="debian", client=client
    )
    check(result)
    assert sorted(result["finalized"]) == [0, 2, 3]


def test_launcher_mode_refuses_a_library_that_cannot_do_it(
    programs: Programs, tmp_path: Path
) -> None:
    result = as_launcher(
        programs, tmp_path, "launcher", launcher="debian", server="debian", client="debian"
    )
    assert all("cannot be client and server in one copy" in r["err"] for r in result["ranks"])


def test_none_keeps_what_is_published() -> None:
    async def scenario() -> None:
        upstream = open_upstream("auto", {})
        job = await upstream.connect()
        assert (job.size, job.rank, job.local) == (1, 0, 0)
        waiting = asyncio.create_task(upstream.fetch(0, "key", 5))
        await asyncio.sleep(0)
        await upstream.publish("key", b"\0data")
        assert await waiting == b"\0data"
        with pytest.raises(PmixError) as error:
            await upstream.fetch(0, "other", 0.01)
        assert error.value.status == Status.ERR_TIMEOUT
        await upstream.finalize()

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["isolated", "launcher", "agent"])
def test_without_a_launcher_the_error_says_how_to_start(mode: Any) -> None:
    with pytest.raises(PmixError, match="PMIX_NAMESPACE") as error:
        asyncio.run(open_upstream(mode, {}).connect())
    assert "srun --mpi=pmix" in error.value.hint


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(PmixError, match="mode 'magic'"):
        open_upstream("magic", {})  # type: ignore[arg-type]
