"""The private Slurm cluster as a Python object."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shim.errors import ShimError
from testbed import network
from testbed.daemons import SLURMD, node_states, run_script, wait_for_nodes
from testbed.layer import ensure_layer
from testbed.leftovers import Leftovers, find_leftovers, processes_on
from testbed.lifecycle import (
    bring_up,
    checked_spec,
    require_root,
    take_down,
    use_layer,
)
from testbed.paths import locked_directory
from testbed.process import NodeProcess, logging_in, run_to_end
from testbed.progress import Steps, silent
from testbed.state import HEAD, ClusterSpec, ClusterState, Holder, directory_of, load


class CommandFailed(subprocess.CalledProcessError):
    """A checked command on a node failed; its text holds what the command wrote."""

    def __str__(self) -> str:
        return f"{super().__str__()}\nstdout: {self.stdout}\nstderr: {self.stderr}"


@dataclass(frozen=True)
class NodeStatus:
    """A node: whether its namespaces live, and what Slurm says of it."""

    node: str
    address: str
    alive: bool
    slurm: str


class Cluster:
    """A cluster that is up. Make one with `Cluster.up` or `Cluster.attach`."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    # ---- coming and going ----

    @classmethod
    def up(
        cls,
        name: str = "shim",
        nodes: int = 2,
        cpus: int | Literal["auto"] = "auto",
        suite: str = "trixie",
        slurm_conf: Sequence[str] = (),
        *,
        replace_other: bool = False,
        steps: Steps = silent,
    ) -> Cluster:
        """Bring a cluster up, or return the one that is up with the same make.

        What a dead or half-started cluster of this name left is removed first. A running
        cluster of another make is refused, or taken down if ``replace_other``.
        """
        wanted = checked_spec(name, nodes, cpus, suite, slurm_conf)
        return cls(bring_up(wanted, replace_other=replace_other, steps=steps))

    @classmethod
    def attach(cls, name: str = "shim") -> Cluster:
        """Return the running cluster called ``name``, also if some of its nodes are dead."""
        require_root()
        state = load(name)
        if state is None or state.phase != "up" or not state.any_alive:
            raise ShimError(
                f"There is no running cluster named {name!r}.",
                f"Bring it up with: shim cluster up --name {name}",
            )
        return cls(state)

    def down(self) -> None:
        """End the cluster: no process, mount, namespace or file of it stays."""
        take_down(self.name)

    def reinstall(self, steps: Steps = silent) -> None:
        """Install the source as it is now on all nodes; running processes keep the old files."""
        layer = ensure_layer(Path(self._state.image), steps)
        with locked_directory(directory_of(self.name)):
            self._state = use_layer(self._state, layer)

    # ---- what it is ----

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self._state.spec.name

    @property
    def spec(self) -> ClusterSpec:
        """What the cluster was asked to be."""
        return self._state.spec

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the compute nodes: n1, n2, …"""
        return self._state.spec.compute

    @property
    def shared(self) -> Path:
        """The directory on this machine that is /shared on every node."""
        return self.directory / "shared"

    @property
    def directory(self) -> Path:
        """The cluster's state directory on this machine."""
        return directory_of(self.name)

    @property
    def ssh_config(self) -> Path:
        """File for ``ssh -F`` with which root on this machine reaches the host ``head``."""
        return self.directory / "ssh_config"

    def home(self, user: str = "demo") -> Path:
        """The directory on this machine that is the user's home on every node."""
        return self.directory / "home" / user

    def address(self, node: str = HEAD) -> str:
        """IPv4 address of a node."""
        return self._state.addresses[self._checked_node(node)]

    def pid(self, node: str = HEAD) -> int:
        """Host pid of the node's pid 1."""
        return self._holder(node).pid

    def log(self, node: str = HEAD) -> Path:
        """The log of the node's Slurm daemon, as a file on this machine."""
        daemon = "slurmctld" if node == HEAD else "slurmd"
        upper = self.directory / "nodes" / self._checked_node(node) / "upper"
        return upper / "var/log/slurm" / f"{daemon}.log"

    def status(self) -> tuple[NodeStatus, ...]:
        """Every node with its state."""
        alive = {node: self._state.holders[node].alive for node in self.spec.members}
        slurm = node_states(self._state) if alive[HEAD] else {}
        controller = "slurmctld up" if slurm else "slurmctld silent"
        return tuple(
            NodeStatus(
                node,
                self._state.addresses[node],
                alive[node],
                controller if node == HEAD else slurm.get(node, "unknown"),
            )
            for node in self.spec.members
        )

    # ---- running things ----

    def command(
        self,
        argv: Sequence[str],
        user: str = "demo",
        node: str = HEAD,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> list[str]:
        """The command line that runs ``argv`` on a node, to be executed on this machine."""
        return logging_in(self._holder(node), argv, user=user, env=env, cwd=cwd)

    def run(
        self,
        argv: Sequence[str],
        user: str = "demo",
        node: str = HEAD,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = 60,
        check: bool = False,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a node in a login environment and wait for it.

        At the time-out everything of its session is killed, and TimeoutExpired tells what it
        had written. With ``check``, a failure raises CalledProcessError.
        """
        command = self.command(argv, user, node, env, cwd)
        result = run_to_end(command, input=input, timeout=timeout)
        if check and result.returncode != 0:
            raise CommandFailed(result.returncode, list(argv), result.stdout, result.stderr)
        return result

    def popen(
        self,
        argv: Sequence[str],
        user: str = "demo",
        node: str = HEAD,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        **options: Any,
    ) -> NodeProcess:
        """Start a command on a node and return at once; ``options`` are those of Popen.

        Signals sent through the result reach the command on the node.
        """
        settings = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "start_new_session": True,
            "text": True,
        }
        command = self.command(argv, user, node, env, cwd)
        return NodeProcess(command, **{**settings, **options})

    # ---- faults ----

    def node_pids(self, node: str) -> dict[int, str]:
        """Host pids of all processes on a node, each with its command line."""
        return {info.pid: info.command for info in processes_on(node, self._holder(node))}

    def kill_node(self, node: str) -> None:
        """Power off: every process of the node dies at once, its network with it.

        The node stays dead until the cluster is taken down.
        """
        holder = self._holder(node)
        os.kill(holder.pid, signal.SIGKILL)
        while holder.alive:
            time.sleep(0.005)

    def stop_slurmd(self, node: str) -> None:
        """Kill the node's slurmd (not its jobs' slurmstepd)."""
        self.run(["pkill", "-KILL", "-x", "slurmd"], user="root", node=node)

    def start_slurmd(self, node: str) -> None:
        """Start the node's slurmd again and wait until Slurm calls the node usable."""
        run_script(self._state, node, SLURMD)
        wait_for_nodes(self._state, [node])

    def set_link(self, node: str, up: bool) -> None:
        """Pull the node's network cable, or plug it in again."""
        network.set_link(self._state.holders, self._checked_node(node), up)

    def leftovers(self, user: str | None = None) -> Leftovers:
        """What jobs left behind on the nodes and in the queue, of one user or of anyone."""
        return find_leftovers(self._state, user)

    def _holder(self, node: str) -> Holder:
        holder = self._state.holders[self._checked_node(node)]
        if not holder.alive:
            raise ShimError(
                f"The node {node} of the cluster {self.name!r} is dead.",
                f"Start over: shim cluster down --name {self.name}, then up.",
            )
        return holder

    def _checked_node(self, node: str) -> str:
        if node not in self.spec.members:
            raise ShimError(
                f"The cluster {self.name!r} has no node {node!r}.",
                f"Its nodes are {', '.join(self.spec.members)}.",
            )
        return node
