"""Where ranks sit, in the notation of PMI-1/PMI-2 (ANL's process mapping).

MPICH and its relatives read PMIX_ANL_MAP to learn which ranks share a node; without it they take
every rank to be alone. The form is ``(vector,(first,nodes,ranks),…)``: a block of consecutive
nodes that each hold the same number of consecutive ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import NamedTuple


class Block(NamedTuple):
    """`nodes` nodes from index `first` on, each with `ranks` consecutive ranks."""

    first: int
    nodes: int
    ranks: int


def blocks(node_of: Mapping[int, int], size: int) -> tuple[Block, ...]:
    """The shortest list of blocks that deals ranks 0 … size-1 to their nodes in order."""
    result: list[Block] = []
    for node, group in groupby(range(size), key=lambda rank: node_of[rank]):
        count = len(list(group))
        last = result[-1] if result else None
        if last and last.ranks == count and last.first + last.nodes == node:
            result[-1] = last._replace(nodes=last.nodes + 1)
        else:
            result.append(Block(node, 1, count))
    return tuple(result)


def anl_map(node_of: Mapping[int, int], size: int) -> str:
    """PMIX_ANL_MAP of a job."""
    listed = ",".join(f"({b.first},{b.nodes},{b.ranks})" for b in blocks(node_of, size))
    return f"(vector,{listed})"
