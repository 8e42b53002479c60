"""Which ranks of `shim run` go to which node (pure); inside a node it is `cpusets`' business."""

from __future__ import annotations

from collections.abc import Sequence

from cpusets import CpusetsError, NodeRequest
from cpusets.dealing import Capacity, deal, every_place
from cpusets.rankfile import RankLine, lines_by_node, parse_rankfile
from shim.errors import ShimError
from shim.run.spec import RunSpec

Numbers = tuple[tuple[int, ...], ...]
"""The rank numbers of each node."""


def deal_ranks(
    spec: RunSpec, names: Sequence[str], nodes: Sequence[Capacity], request: NodeRequest
) -> Numbers:
    """Deal the job's ranks to the nodes, as `shim map` does.

    Raises:
        ShimError: they do not fit; the sentence says how many would.
    """
    if spec.mapping.cpu_bind is not None and len(nodes) > 1:
        raise ShimError(
            "An explicit list of CPUs describes one node.",
            "Use --rankfile for a job of several nodes.",
        )
    try:
        ranks = spec.ranks or every_place(nodes, request, spec.per_node)
        _check_room(ranks, names, nodes, request)
        return tuple(deal(nodes, ranks, request, spec.per_node))
    except CpusetsError as error:
        raise ShimError(error.message, error.hint) from error


def _check_room(
    ranks: int, names: Sequence[str], nodes: Sequence[Capacity], request: NodeRequest
) -> None:
    """More threads than CPUs are refused, unless they were asked for."""
    room = [node.cpus // (request.threads or 1) for node in nodes]
    if ranks > sum(room) and not request.oversubscribe:
        shown = ", ".join(f"{name} ({n})" for name, n in zip(names, room, strict=True))
        what = shown if len(nodes) <= 4 else f"{len(nodes)} nodes"
        raise ShimError(
            f"{ranks} ranks do not fit: {what} can take {sum(room)}.",
            "Ask for fewer ranks or threads, for a larger allocation, or add --oversubscribe.",
        )


def read_rankfile(spec: RunSpec, names: Sequence[str]) -> tuple[tuple[RankLine, ...], ...]:
    """The lines of each node of the job's rank file.

    Raises:
        ShimError: it is wrong, or does not have the job's ranks.
    """
    try:
        lines = parse_rankfile(spec.rankfile or "")
        if spec.ranks not in (None, len(lines)):
            raise ShimError(
                f"The rank file has {len(lines)} ranks and -n says {spec.ranks}.",
                "Leave -n out, or make them agree.",
            )
        return lines_by_node(lines, names)
    except CpusetsError as error:
        raise ShimError(error.message, error.hint) from error
