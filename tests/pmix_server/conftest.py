"""Fixtures of the PMIx tests."""

from __future__ import annotations

import pytest

from tests.pmix_server import programs as build


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> build.Programs:
    """The C clients."""
    return build.build(tmp_path_factory.mktemp("pmix-programs"))
