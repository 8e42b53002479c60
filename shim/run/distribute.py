"""How many ranks go to which node (pure); what happens inside a node is `cpusets`' business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shim.errors import ShimError


@dataclass(frozen=True)
class NodeSlots:
    """A node and the ranks that it can take without oversubscription."""

    name: str
    slots: int


def distribute(
    ranks: int,
    nodes: Sequence[NodeSlots],
    *,
    per_node: int | None = None,
    oversubscribe: bool = False,
) -> tuple[tuple[int, ...], ...]:
    """Deal ranks 0…N-1 to nodes in blocks; element i lists the ranks of node i.

    Nodes are filled in order up to their slots, as `srun --distribution=block` does; with
    *per_node* each takes at most that many.

    Raises:
        ShimError: they do not fit; the sentence says how many would.
    """
    if ranks < 1:
        raise ShimError(f"Cannot run {ranks} ranks.", "Give -n a number of at least 1.")
    if per_node is not None and per_node < 1:
        raise ShimError(f"Cannot put {per_node} ranks on a node.", "Give --ppn at least 1.")
    limits = [_limit(node, per_node, oversubscribe) for node in nodes]
    if per_node is None and oversubscribe and sum(limits) < ranks:
        limits = _stretched(limits, ranks)
    if sum(limits) < ranks:
        raise ShimError(
            f"{ranks} ranks do not fit: {_described(nodes, limits)} can take {sum(limits)}.",
            "Ask for fewer ranks or threads, for a larger allocation, or add --oversubscribe.",
        )
    return _blocks(ranks, limits)


def _limit(node: NodeSlots, per_node: int | None, oversubscribe: bool) -> int:
    if per_node is None:
        return node.slots
    return per_node if oversubscribe else min(per_node, node.slots)


def _stretched(limits: Sequence[int], ranks: int) -> list[int]:
    """Raise every node's limit in turn until all ranks have a place."""
    raised = list(limits)
    for at in range(ranks - sum(limits)):
        raised[at % len(raised)] += 1
    return raised


def _described(nodes: Sequence[NodeSlots], limits: Sequence[int]) -> str:
    if len(nodes) > 4:
        return f"{len(nodes)} nodes"
    return ", ".join(f"{node.name} ({limit})" for node, limit in zip(nodes, limits, strict=True))


def _blocks(ranks: int, limits: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    blocks: list[tuple[int, ...]] = []
    start = 0
    for limit in limits:
        end = min(ranks, start + limit)
        blocks.append(tuple(range(start, end)))
        start = end
    return tuple(blocks)
