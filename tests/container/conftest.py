"""The bench on the cluster's nodes."""

from __future__ import annotations

import pytest

from testbed import Cluster
from tests.frontend.bench import Bench, set_up


@pytest.fixture(scope="session")
def bench(cluster: Cluster) -> Bench:
    """Front-end, test agent and a small image on the cluster."""
    return set_up(cluster)
