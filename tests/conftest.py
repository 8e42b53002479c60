"""Fixtures for all tests. ``cluster`` is the private Slurm cluster that many of them share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from testbed import Cluster
from testbed.progress import plain

TEST_CLUSTER = "shim-test"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A two-node cluster with this machine's CPUs, with shim as it is in this source tree.

    Set SHIM_TEST_CLUSTER=keep to find it up again in the next run (a changed source is
    installed into it); SHIM_TEST_CLUSTER_NAME gives it another name.
    """
    name = os.environ.get("SHIM_TEST_CLUSTER_NAME") or TEST_CLUSTER
    up = Cluster.up(name, nodes=2, replace_other=True, steps=plain)
    yield up
    if os.environ.get("SHIM_TEST_CLUSTER") != "keep":
        up.down()
