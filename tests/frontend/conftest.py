"""The compiled front-end, on this machine and on the cluster's nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Cluster
from tests.frontend.bench import Bench, compile_frontend, set_up
from tests.frontend.desk import Desk


@pytest.fixture(scope="session")
def bench(cluster: Cluster) -> Bench:
    """Front-end, test agent and a small image on the cluster."""
    return set_up(cluster)


@pytest.fixture(scope="session")
def frontend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program `shim`, built from source."""
    directory = tmp_path_factory.mktemp("frontend")
    compile_frontend(directory / "shim", directory)
    return directory / "shim"


@pytest.fixture
def desk(frontend: Path, tmp_path: Path) -> Iterator[Desk]:
    """Front-ends with the test's agent, as native ranks on this machine."""
    desk = Desk(frontend, tmp_path)
    yield desk
    desk.close()
