"""Which of this node's addresses the other nodes can reach.

A node may have many addresses, most of them useless to others (loopback, container bridges), and
its own name may resolve to 127.0.1.1 (Debian's installer writes that line). So the question is
put to the routing table, per other node: which of our addresses would it see?
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

ASKED_ROUTES = 8
"""Other nodes whose route is looked up. Nodes of one job share few networks, and each look-up may
cost a DNS query."""

_DISCARD_PORT = 9


def order_addresses(
    towards_others: Iterable[str], of_own_name: Iterable[str], of_interfaces: Iterable[str]
) -> tuple[str, ...]:
    """All addresses to listen on, the one most likely to be reached first.

    Loopback is kept only where the route to another node gave it, that is where the other "node"
    is on this machine (two slurmd on one host); link-local ones need a scope and are dropped.
    """
    ranked: dict[str, None] = {}
    for address in towards_others:
        if not _link_local(address):
            ranked.setdefault(address)
    for address in (*of_own_name, *of_interfaces):
        if not _link_local(address) and not ipaddress.ip_address(address).is_loopback:
            ranked.setdefault(address)
    return tuple(ranked) or ("127.0.0.1",)


def listening_addresses(own_name: str, others: Sequence[str]) -> tuple[str, ...]:
    """This machine's addresses to listen on, best first; asks the resolver and the routes."""
    local = interface_addresses()
    routes = [source for name in others[:ASKED_ROUTES] for source in sources_towards(name)]
    own = [address for address in resolve(own_name) if address in local]
    return order_addresses(routes, own, local)


def resolve(name: str) -> list[str]:
    """Numeric addresses of *name*, [] if it has none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def sources_towards(name: str) -> list[str]:
    """The source addresses that this machine would use towards *name*.

    connect() on a UDP socket sends nothing; it makes the kernel choose the route (connect(2)).
    """
    sources: list[str] = []
    for address in resolve(name):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((address, _DISCARD_PORT))
            except OSError:
                continue
            sources.append(str(probe.getsockname()[0]))
    return sources


def interface_addresses() -> list[str]:
    """Every IP address of this machine's interfaces that are up."""
    import psutil

    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    return [
        str(entry.address).partition("%")[0]
        for name, entries in psutil.net_if_addrs().items()
        if name in up
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6)
    ]


def as_tcp(address: str, port: int | str) -> str:
    """ZeroMQ's spelling of a TCP endpoint."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def _link_local(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_link_local
