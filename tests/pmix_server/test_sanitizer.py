"""The whole extension under AddressSanitizer and UBSan: server and client in one process."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from pmix_server.library import CLIENT_VARIABLE, SERVER_VARIABLE
from tests.pmix_server.programs import (
    CORE,
    LIBRARIES,
    ROOT,
    Programs,
    build_module,
    failures,
    sanitizer_environment,
    serve,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source tree whose `_pmixcore` is built with the sanitizers."""
    root = tmp_path_factory.mktemp("sanitized")
    skip = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "pmix_server", root / "pmix_server", ignore=skip)
    for package in ("cpusets", "tests"):
        (root / package).symlink_to(ROOT / package)
    build_module(root / "pmix_server" / "_pmixcore.so", sorted(CORE.glob("*.c")))
    return root


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_server_and_an_isolated_client_in_one_process(
    programs: Programs, tmp_path: Path, tree: Path, library: str
) -> None:
    """The launcher and the agents that are its ranks are all sanitized, their ranks are not."""
    agent = [sys.executable, "-m", "tests.pmix_server.agent", "isolated", "s3cret"]
    ranks = ["env", "-u", "LD_PRELOAD", str(programs.ranks)]
    result = serve(
        {
            "nodes": [["nodeA", [0, 1]]],
            "tmpdir": str(tmp_path / "launcher"),
            "library": str(LIBRARIES[library]),
            "env": {
                SERVER_VARIABLE: str(LIBRARIES[library]),
                CLIENT_VARIABLE: str(LIBRARIES[library]),
                "PYTHONPATH": str(tree),
            },
            "command": [*agent, *ranks, "exchange", "3000"],
        },
        env=sanitizer_environment(),
        root=tree,
    )
    assert failures(result) == []
    reports = [json.loads(rank["out"]) for rank in result["ranks"]]
    assert [report["codes"] for report in reports] == [[0], [0]]
    assert "runtime error" not in result["stderr"] + "".join(r["err"] for r in result["ranks"])
