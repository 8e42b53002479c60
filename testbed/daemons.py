"""The daemons of a cluster: their configuration, their start, and waiting for Slurm."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from shim.errors import ShimError
from testbed import slurmconf
from testbed.process import entering
from testbed.state import HEAD, ClusterState, directory_of
from testbed.suites import suite_named

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
    + r"""
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
known="$1,$2 $(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)"
for user in demo other; do
  setpriv --reuid=$user --regid=$user --clear-groups sh -euc '
    umask 077; mkdir -p /home/$1/.ssh; cd /home/$1/.ssh
    ssh-keygen -q -t ed25519 -N "" -C $1 -f id_ed25519; cp id_ed25519.pub authorized_keys
    echo "$2" >known_hosts' keys $user "$known"
done
/usr/sbin/sshd -o UseDNS=no -o PidFile=/run/sshd.pid
slurmctld
"""
)

SLURMD: Final = "slurmd"

_COMPUTE: Final = _PREPARE + SLURMD + "\n"


def write_configuration(state: ClusterState, directory: Path) -> None:
    """Write what is /etc/slurm on every node."""
    suite = suite_named(state.spec.suite)
    first = state.holders[state.spec.compute[0]]
    described = subprocess.run(
        entering(first, ["slurmd", "-C"]), capture_output=True, text=True, check=False
    )
    hardware = slurmconf.hardware(state.spec, described.stdout)
    text = slurmconf.slurm_conf(state.spec, state.addresses, hardware)
    (directory / "conf" / "slurm.conf").write_text(text)
    (directory / "conf" / "cgroup.conf").write_text(slurmconf.cgroup_conf(suite))
    for path in (directory / "conf").iterdir():
        path.chmod(0o644)


def start_daemons(state: ClusterState, munge_key: bytes) -> None:
    """Start munge everywhere, slurmctld and sshd on the head, slurmd on the compute nodes."""
    scripts = dict.fromkeys(state.spec.compute, _COMPUTE) | {HEAD: _HEAD}
    with ThreadPoolExecutor(len(scripts)) as pool:
        running = [
            pool.submit(run_script, state, node, script, munge_key)
            for node, script in scripts.items()
        ]
        for future in running:
            future.result()


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
