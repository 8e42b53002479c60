"""The calls of the standard that need the whole job: real PMIx clients in C on two nodes, for each
pair of libpmix versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pmix_server.programs import LIBRARIES, Programs, failures, serve_pair
from tests.pmix_server.test_server import PAIRS, two_nodes

every_pair = pytest.mark.parametrize(("server", "client"), PAIRS)


def run(
    programs: Programs, tmp_path: Path, name: str, *arguments: str, server: str, client: str
) -> list[dict[str, Any]]:
    """One program on two nodes; all its ranks must find everything right."""
    requests = two_nodes(programs, tmp_path, server=server, client=client)
    for request in requests:
        request["command"] = [str(programs.program(name)), *arguments]
    results = serve_pair(requests)
    assert [failures(result) for result in results] == [[], []]
    return results


@every_pair
def test_published_data_are_found_on_the_other_node(
    programs: Programs, tmp_path: Path, server: str, client: str
) -> None:
    run(programs, tmp_path, "names", server=server, client=client)


@every_pair
def test_processes_of_two_nodes_connect_and_disconnect(
    programs: Programs, tmp_path: Path, server: str, client: str
) -> None:
    run(programs, tmp_path, "connections", server=server, client=client)


@every_pair
def test_events_reach_the_ranks_of_their_range_on_both_nodes(
    programs: Programs, tmp_path: Path, server: str, client: str
) -> None:
    """Those that register late included; no default handler sees what is not for it."""
    run(programs, tmp_path, "events", server=server, client=client)


@pytest.mark.parametrize("version", LIBRARIES)
def test_groups_over_two_nodes_have_numbers_of_their_own(
    programs: Programs, tmp_path: Path, version: str
) -> None:
    """Not between versions: 5.0 puts the membership before the number into its answer, and a 4.2
    client takes one for the other (_grpcbfunc in pmix_server_ops.c)."""
    run(programs, tmp_path, "groups", server=version, client=version)


@every_pair
def test_job_control_reaches_ranks_of_both_nodes(
    programs: Programs, tmp_path: Path, server: str, client: str
) -> None:
    run(programs, tmp_path, "control", server=server, client=client)


@every_pair
def test_queries_tell_what_the_job_is(
    programs: Programs, tmp_path: Path, server: str, client: str
) -> None:
    run(programs, tmp_path, "queries", server=server, client=client)


@every_pair
def test_what_is_not_done_is_refused_and_what_waits_holds_up_nothing(
    programs: Programs, tmp_path: Path, server: str, client: str
) -> None:
    run(programs, tmp_path, "refusals", server=server, client=client)
