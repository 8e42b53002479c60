"""Bringing a cluster up: directories, namespaces, network, configuration, daemons."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from shim.errors import ShimError
from testbed import network, slurmconf
from testbed.image import USERS
from testbed.layer import MOUNT_POINT
from testbed.node_init import MARK, NODE_NAMESPACES
from testbed.process import entering
from testbed.progress import Steps
from testbed.state import HEAD, SWITCH, ClusterState, Holder, directory_of, save
from testbed.suites import suite_named

_CLONE_NEWNET: Final = 0x40000000
_PATIENCE: Final = 30.0
"""Seconds for all nodes to register with slurmctld."""

_PREPARE: Final = """
install -o munge -g munge -m 400 /dev/stdin /etc/munge/munge.key
install -d -o munge -g munge -m 755 /run/munge
install -d -o slurm -g slurm -m 755 /var/lib/slurm /var/lib/slurm/slurmctld /var/log/slurm
install -d -m 755 /var/lib/slurm/slurmd /run/sshd
setpriv --reuid=munge --regid=munge --init-groups munged
"""

_HEAD: Final = (
    _PREPARE
    + """
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
test -e /home/demo/.ssh/id_ed25519 || setpriv --reuid=demo --regid=demo --clear-groups sh -c '
  umask 077; mkdir -p /home/demo/.ssh; cd /home/demo/.ssh
  ssh-keygen -q -t ed25519 -N "" -C demo -f id_ed25519; cp id_ed25519.pub authorized_keys'
{ printf '%s,%s ' "$1" "$2"; cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub; } \\
  >/etc/ssh/ssh_known_hosts
/usr/sbin/sshd -o UseDNS=no -o PidFile=/run/sshd.pid
slurmctld
"""
)

SLURMD: Final = "slurmd"

_COMPUTE: Final = _PREPARE + SLURMD + "\n"


def start(state: ClusterState, steps: Steps) -> ClusterState:
    """Start the cluster in its empty, locked state directory; the state saved at every step."""
    save(state)
    spec = state.spec
    directory = directory_of(spec.name)
    _make_common_directories(directory)
    addresses = network.addresses(spec)
    state = replace(state, addresses=addresses)
    with steps(f"starting {spec.nodes + 1} nodes"):
        state = _start_holders(state, directory)
        network.connect(state.holders, addresses)
    with steps("starting munge, sshd and Slurm"):
        write_configuration(state, directory)
        _start_daemons(state, secrets.token_bytes(128))
    with steps("waiting for the nodes to register"):
        wait_for_nodes(state, spec.compute)
    _write_ssh_config(state, directory)
    state = replace(state, phase="up")
    save(state)
    return state


def _make_common_directories(directory: Path) -> None:
    for name in ("conf", "home", "shared", "nodes"):
        (directory / name).mkdir()
    # The umask must not narrow what all users share.
    (directory / "shared").chmod(0o1777)
    for user, uid in USERS:
        home = directory / "home" / user
        home.mkdir()
        home.chmod(0o755)
        os.chown(home, uid, uid)


def _start_holders(state: ClusterState, directory: Path) -> ClusterState:
    """Start the switch and all nodes at once; the state is saved with each that is there."""
    descriptions = {SWITCH: _switch(state)}
    for node in state.spec.members:
        descriptions[node] = _node(state, directory, node)
    starting = {
        name: subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("node_init.py"))]
            + [json.dumps(description)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=description["environment"],  # type: ignore[arg-type]
        )
        for name, description in descriptions.items()
    }
    answers = {name: process.communicate()[0].strip() for name, process in starting.items()}
    for name, answer in answers.items():
        match = re.fullmatch(r"pid (\d+)", answer)
        if match is None:
            raise ShimError(
                f"The node {name} could not be made: {answer.removeprefix('error ') or 'no answer'}.",
                "A private cluster needs root with CAP_SYS_ADMIN and overlayfs.",
            )
        state = state.with_holder(name, Holder.of(int(match[1])))
    save(state)
    return state


def _switch(state: ClusterState) -> dict[str, object]:
    return {
        "namespaces": _CLONE_NEWNET,
        "init": [shutil.which("sleep") or "/bin/sleep", "infinity"],
        "environment": {MARK: state.spec.name, f"{MARK}_NODE": SWITCH},
    }


def _node(state: ClusterState, directory: Path, node: str) -> dict[str, object]:
    place = directory / "nodes" / node
    for name in ("upper/etc", "work", "root"):
        (place / name).mkdir(parents=True)
    for made in (place / "upper", place / "upper" / "etc"):
        made.chmod(0o755)
    (place / "upper/etc/hosts").write_text(network.hosts_file(network.addresses(state.spec)))
    (place / "upper/etc/hostname").write_text(f"{node}\n")
    binds = [(str(directory / name), f"/{name}") for name in ("home", "shared")]
    binds.append((str(directory / "conf"), "/etc/slurm"))
    if state.layer:
        binds.append((state.layer, MOUNT_POINT))
    return {
        "namespaces": NODE_NAMESPACES,
        "hostname": node,
        "lower": state.image,
        "upper": str(place / "upper"),
        "work": str(place / "work"),
        "root": str(place / "root"),
        "binds": binds,
        "init": ["/usr/bin/tini", "--", "sleep", "infinity"],
        "environment": {MARK: state.spec.name, f"{MARK}_NODE": node},
    }


def write_configuration(state: ClusterState, directory: Path) -> None:
    """Write what is /etc/slurm on every node."""
    suite = suite_named(state.spec.suite)
    first = state.holders[state.spec.compute[0]]
    hardware = slurmconf.hardware(state.spec, _checked(entering(first, ["slurmd", "-C"])))
    text = slurmconf.slurm_conf(state.spec, state.addresses, hardware)
    (directory / "conf" / "slurm.conf").write_text(text)
    (directory / "conf" / "cgroup.conf").write_text(slurmconf.cgroup_conf(suite))
    # Debian's slurm.conf is optional, its plugstack.conf is not if mentioned; none is needed.
    for path in (directory / "conf").iterdir():
        path.chmod(0o644)


def _start_daemons(state: ClusterState, munge_key: bytes) -> None:
    scripts = dict.fromkeys(state.spec.compute, _COMPUTE) | {HEAD: _HEAD}
    with ThreadPoolExecutor(len(scripts)) as pool:
        list(
            pool.map(
                lambda item: run_script(state, item[0], item[1], munge_key), scripts.items()
            )
        )


def run_script(state: ClusterState, node: str, script: str, stdin: bytes = b"") -> None:
    """Run a shell script as root on a node, its daemons left behind; ShimError if it fails.

    Its arguments are the head's name and address.
    """
    arguments = ["sh", "-euc", script, "boot", HEAD, state.addresses[HEAD]]
    # Daemons keep what they inherit: a pipe for stderr would never see its end.
    log = directory_of(state.spec.name) / "nodes" / f"{node}.boot.log"
    with log.open("ab") as sink:
        process = subprocess.run(
            entering(state.holders[node], arguments),
            input=stdin,
            stdout=sink,
            stderr=sink,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd="/",
            check=False,
        )
    if process.returncode != 0:
        said = log.read_text(errors="replace").strip()
        raise ShimError(
            f"The daemons of node {node} did not start: {said or 'no message'}.",
            "Look at the lines given by --slurm-conf first.",
        )


def wait_for_nodes(state: ClusterState, nodes: Sequence[str], patience: float = _PATIENCE) -> None:
    """Return when Slurm calls all ``nodes`` idle; ShimError after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        states = node_states(state)
        if all(states.get(node, "").startswith(("idle", "mixed", "alloc")) for node in nodes):
            return
        if time.monotonic() > deadline:
            raise ShimError(
                f"The nodes did not become ready in {patience:.0f} s: {states or 'no answer'}.",
                f"Look at: shim cluster logs --name {state.spec.name} head",
                transient=True,
            )
        time.sleep(0.05)


def node_states(state: ClusterState) -> Mapping[str, str]:
    """Slurm's word for each node, such as "idle" or "down*"; empty while slurmctld is silent."""
    answer = subprocess.run(
        entering(state.holders[HEAD], ["sinfo", "-h", "-N", "-o", "%N %T"]),
        capture_output=True,
        text=True,
        check=False,
    )
    pairs = (line.split(maxsplit=1) for line in answer.stdout.splitlines())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def _checked(command: Sequence[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout


def _write_ssh_config(state: ClusterState, directory: Path) -> None:
    """An ssh configuration with which root on this machine logs in to the head as demo."""
    key = directory / "ssh_key"
    shutil.copy(directory / "home/demo/.ssh/id_ed25519", key)
    key.chmod(0o600)
    known = directory / "nodes" / HEAD / "upper/etc/ssh/ssh_known_hosts"
    (directory / "ssh_config").write_text(
        f"Host {HEAD}\n"
        "  User demo\n"
        f"  IdentityFile {key}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {known}\n"
        f"  ProxyCommand nsenter --target {state.holders[HEAD].pid} --mount --net"
        f" nc {state.addresses[HEAD]} 22\n"
    )
