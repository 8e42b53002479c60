"""OpenPMIx's Python bindings as clients of our server, over two nodes (examples/pmix-client)."""

from __future__ import annotations

import pytest

from testbed import Cluster
from tests.e2e.documents import ROOT


@pytest.mark.cluster
def test_ranks_in_python_share_values_across_nodes(cluster: Cluster) -> None:
    client = ROOT / "examples" / "pmix-client" / "client.py"
    (cluster.shared / "client.py").write_text(client.read_text())
    launch = "salloc --quiet -N2 --exclusive shim run -n 4 --native python3 /shared/client.py"
    done = cluster.run(launch.split(), timeout=60)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        f"rank {rank} of 4 read: hello from rank {(rank + 1) % 4}" for rank in range(4)
    ]
