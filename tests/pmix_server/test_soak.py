"""Many launches and fences with both copies of libpmix alive: the short form of
benchmarks/pmix_soak.py."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.pmix_soak import run
from tests.pmix_server.programs import LIBRARIES

# libpmix 4.2.2 itself loses about 0.12 KiB per fence that crosses nodes and 10 KiB per namespace
# and its ranks (valgrind: all of it in libpmix's own frames).
FENCE_KIB, LAUNCH_KIB, SLACK_KIB = 0.2, 20, 1024


def test_programs_that_fork_often_across_two_agents() -> None:
    """fork and exec in the ranks, and processes that the agents start, while all copies run."""
    soaks = run(["forks", "60"], launches=4, ranks=2, server="debian", client="debian", limit=120)
    assert [soak.bad for soak in soaks] == [(), ()]
    assert all(soak.descriptors_grown == 0 for soak in soaks)


@pytest.mark.parametrize(("server", "client"), list(itertools.product(LIBRARIES, LIBRARIES)))
def test_memory_and_descriptors_stay_flat(server: str, client: str) -> None:
    launches, fences = 15, 50
    soaks = run(
        ["fences", str(fences)],
        launches=launches,
        ranks=2,
        server=server,
        client=client,
        limit=120,
    )
    for soak in soaks:
        assert soak.bad == ()
        assert soak.fences == launches * fences
        assert soak.descriptors_grown == 0
        assert soak.grown_kib <= FENCE_KIB * soak.fences + LAUNCH_KIB * launches + SLACK_KIB
