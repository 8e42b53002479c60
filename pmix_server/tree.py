"""A k-ary tree over a row of nodes in which every subtree is a run of neighbours.

Node at position 0 is the root. The rest is cut into at most *fanout* runs of nearly equal length;
the first of each run is a child, and so on. Because a subtree is a run, "own data, then each
child's, in order" concatenates the data of all nodes in node order at every level, without
sorting or an index. Depth is ⌈log_fanout(n)⌉ or less by one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TreePlace:
    """Where one position stands: its parent (None at the root) and its children in order."""

    parent: int | None
    children: tuple[int, ...]


def children_of_run(first: int, length: int, fanout: int) -> tuple[tuple[int, int], ...]:
    """(first, length) of each child's run below the node *first* whose run has *length* nodes."""
    rest = length - 1
    runs = min(fanout, rest)
    result: list[tuple[int, int]] = []
    start = first + 1
    for number in range(runs):
        size = rest // runs + (number < rest % runs)
        result.append((start, size))
        start += size
    return tuple(result)


def place_in_tree(position: int, size: int, fanout: int) -> TreePlace:
    """Parent and children of *position* among *size* nodes.

    Raises:
        ValueError: the position is not in the row, or the fan-out is below 1.
    """
    if not 0 <= position < size or fanout < 1:
        raise ValueError(f"no position {position} in a tree of {size} nodes, fan-out {fanout}")
    parent: int | None = None
    first, length = 0, size
    while first != position:
        parent = first
        first, length = next(
            run
            for run in children_of_run(first, length, fanout)
            if run[0] <= position < run[0] + run[1]
        )
    return TreePlace(parent, tuple(run[0] for run in children_of_run(first, length, fanout)))
