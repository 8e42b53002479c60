"""Bringing a cluster up, step by step, in its empty state directory."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path

from testbed import network
from testbed.daemons import start_daemons, wait_for_nodes, write_configuration
from testbed.holders import start_holders
from testbed.image import USERS
from testbed.progress import Steps
from testbed.state import HEAD, ClusterState, directory_of, save


def start(state: ClusterState, steps: Steps) -> ClusterState:
    """Start the cluster in its empty, locked state directory; the state saved at every step."""
    save(state)
    spec = state.spec
    directory = directory_of(spec.name)
    _make_common_directories(directory)
    addresses = network.addresses(spec)
    state = replace(state, addresses=addresses)
    with steps(f"starting {spec.nodes + 1} nodes"):
        state = start_holders(state, directory)
        network.connect(state.holders, addresses)
    with steps("starting munge, sshd and Slurm"):
        write_configuration(state, directory)
        start_daemons(state, secrets.token_bytes(128))
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


def _write_ssh_config(state: ClusterState, directory: Path) -> None:
    """An ssh configuration with which root on this machine logs in to the head as demo."""
    key = directory / "ssh_key"
    shutil.copy(directory / "home/demo/.ssh/id_ed25519", key)
    key.chmod(0o600)
    known = directory / "home/demo/.ssh/known_hosts"
    (directory / "ssh_config").write_text(
        f"Host {HEAD}\n"
        "  User demo\n"
        f"  IdentityFile {key}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {known}\n"
        f"  ProxyCommand nsenter --target {state.holders[HEAD].pid} --mount --net"
        f" nc {state.addresses[HEAD]} 22\n"
    )
