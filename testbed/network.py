"""The cluster's network: a bridge in a namespace of its own, one veth pair per node.

The host's network is not touched, and two clusters cannot meet: each has its own switch. There
is no way out of it either, so nothing that runs on a node reaches another machine.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence

from shim.errors import ShimError
from testbed.state import SWITCH, ClusterSpec, Holder

PREFIX_LENGTH = 24


def addresses(spec: ClusterSpec) -> dict[str, str]:
    """Address of each node: 10.x.y.1 is the head, 10.x.y.2 the first compute node, and so on.

    x.y follow from the cluster's name, so that logs of two clusters are told apart.
    """
    digest = hashlib.sha256(spec.name.encode()).digest()
    return {
        node: f"10.{digest[0]}.{digest[1]}.{index}" for index, node in enumerate(spec.members, 1)
    }


def hosts_file(node_addresses: Mapping[str, str]) -> str:
    """/etc/hosts of every node."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    lines += [f"{address} {node}" for node, address in node_addresses.items()]
    return "\n".join(lines) + "\n"


def connect(holders: Mapping[str, Holder], node_addresses: Mapping[str, str]) -> None:
    """Set up the bridge and plug in every node."""
    switch = holders[SWITCH].pid
    setup = ["link add br0 type bridge", "link set br0 up", "link set lo up"]
    _ip(switch, setup)
    for node, address in node_addresses.items():
        # Both ends are born in the switch and one is pushed out: a name is free there at once.
        ends = f"link add {node} type veth peer name eth0 netns {holders[node].pid}"
        _ip(switch, [ends, f"link set {node} master br0 up"])
        up = ["link set lo up", f"address add {address}/{PREFIX_LENGTH} dev eth0"]
        _ip(holders[node].pid, [*up, "link set eth0 up"])


def set_link(holders: Mapping[str, Holder], node: str, up: bool) -> None:
    """Plug a node in, or pull its cable."""
    state = "up" if up else "down"
    _ip(holders[SWITCH].pid, [f"link set {node} {state}"])


def _ip(network: int, commands: Sequence[str]) -> None:
    """Run ip(8) commands in the network namespace of the process ``network``.

    All other namespaces stay the host's: ``netns PID`` is looked up in the caller's.
    """
    result = subprocess.run(
        ["nsenter", f"--net=/proc/{network}/ns/net", "ip", "-batch", "-"],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise ShimError(
            f"The cluster's network could not be set up: {result.stderr.strip()}",
            "Check that this kernel has bridge and veth devices (modprobe bridge veth).",
        )
