"""Rebuilding the launcher's map of nodes from what a client can read. Pure.

PMIX_NODE_MAP never reaches a client, Slurm's PMIX_NODEID of remote ranks is wrong or absent
before 25.05, and the own rank's PMIX_HOSTNAME is gethostname() in libpmix 5 rather than the
launcher's name of the node. So the map is made from every rank's PMIX_HOSTNAME.
"""

from __future__ import annotations

from collections.abc import Sequence

from pmix_server.job import NodeRanks


def own_node(
    hostnames: Sequence[str], rank: int, peers: Sequence[int], listed: Sequence[str], hint: str
) -> str:
    """The launcher's name of our node.

    Args:
        hostnames: PMIX_HOSTNAME by rank.
        rank: our rank.
        peers: ranks on our node (PMIX_LOCAL_PEERS), may be empty.
        listed: PMIX_NODE_LIST, may be empty.
        hint: what the launcher's environment calls the node ("" if it does not say).
    """
    for peer in peers:
        if peer != rank:
            return hostnames[peer]
    if hint and hint in listed:
        return hint
    if hostnames[rank] not in listed:
        others = {name for index, name in enumerate(hostnames) if index != rank}
        left = [name for name in listed if name not in others]
        if len(left) == 1:
            return left[0]
    return hostnames[rank]


def group(hostnames: Sequence[str], listed: Sequence[str]) -> tuple[NodeRanks, ...]:
    """Nodes with their ranks, in the order of *listed* if that names them all, else of ranks."""
    ranks: dict[str, list[int]] = {}
    for number, name in enumerate(hostnames):
        ranks.setdefault(name, []).append(number)
    order = [name for name in listed if name in ranks]
    names = order if len(order) == len(ranks) else list(ranks)
    return tuple(NodeRanks(name, tuple(ranks[name])) for name in names)
