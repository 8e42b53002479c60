"""Which addresses an agent listens on."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from shim.overlay.addresses import (
    as_tcp,
    interface_addresses,
    listening_addresses,
    order_addresses,
    sources_towards,
)

ADDRESSES = st.lists(st.ip_addresses().map(str), max_size=5)


@given(ADDRESSES, ADDRESSES, ADDRESSES)
def test_each_address_once_and_never_none(
    routes: list[str], own: list[str], interfaces: list[str]
) -> None:
    chosen = order_addresses(routes, own, interfaces)
    assert chosen
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= {*routes, *own, *interfaces, "127.0.0.1"}


def test_the_route_to_the_others_comes_first() -> None:
    chosen = order_addresses(["10.1.0.5"], ["192.168.7.5"], ["172.17.0.1", "10.1.0.5"])
    assert chosen == ("10.1.0.5", "192.168.7.5", "172.17.0.1")


def test_an_own_name_on_loopback_is_not_offered_to_others() -> None:
    assert order_addresses(["10.1.0.5"], ["127.0.1.1"], ["127.0.0.1", "::1"]) == ("10.1.0.5",)


def test_loopback_is_used_where_the_other_node_is_this_machine() -> None:
    assert order_addresses(["127.0.0.1"], [], ["10.1.0.5"]) == ("127.0.0.1", "10.1.0.5")


def test_link_local_addresses_are_left_out() -> None:
    assert order_addresses(["fe80::1"], ["169.254.3.4"], ["10.1.0.5"]) == ("10.1.0.5",)


def test_this_machine_reaches_itself_over_loopback() -> None:
    assert "127.0.0.1" in sources_towards("127.0.0.1")


def test_a_name_that_nobody_knows_does_not_matter() -> None:
    chosen = listening_addresses("no-such-name.invalid", ["neither.invalid"])
    assert set(chosen) <= {*interface_addresses(), "127.0.0.1"}


@given(st.ip_addresses(), st.integers(1, 65535))
def test_the_port_can_be_told_from_the_address(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    text, _, number = as_tcp(str(address), port).removeprefix("tcp://").rpartition(":")
    assert (ipaddress.ip_address(text.strip("[]")), int(number)) == (address, port)
