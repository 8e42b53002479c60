"""Starting the processes that hold the namespaces of the switch and of every node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from shim.errors import ShimError
from testbed import network
from testbed.layer import MOUNT_POINT
from testbed.node_init import CLONE_NEWNET, MARK, NODE_NAMESPACES
from testbed.state import SWITCH, ClusterState, Holder, directory_of, save


@dataclass(frozen=True)
class HolderDescription:
    """What node_init.py is told. The fields after ``environment`` are for real nodes only.

    Attributes:
        namespaces: CLONE_NEW* flags.
        init: the program that holds the namespaces, with its arguments.
        environment: its environment, by which a lost holder is found again.
        hostname: the node's name.
        lower, upper, work, root: overlay directories, and where they are merged.
        binds: source, target in the node, whether writable.
    """

    namespaces: int
    init: tuple[str, ...]
    environment: Mapping[str, str]
    hostname: str = ""
    lower: str = ""
    upper: str = ""
    work: str = ""
    root: str = ""
    binds: tuple[tuple[str, str, bool], ...] = ()


def start_holders(state: ClusterState, directory: Path) -> ClusterState:
    """Start the switch and all nodes at once; the state is saved with each that is there."""
    descriptions = {SWITCH: _switch(state)}
    for node in state.spec.members:
        descriptions[node] = _node(state, directory, node)
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("node_init.py"))]
    starting = {
        name: subprocess.Popen(
            [*program, json.dumps(asdict(description))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=description.environment,
        )
        for name, description in descriptions.items()
    }
    answers = {name: process.communicate()[0].strip() for name, process in starting.items()}
    for name, answer in answers.items():
        match = re.fullmatch(r"pid (\d+)", answer)
        if match is None:
            cause = answer.removeprefix("error ") or "no answer"
            raise ShimError(
                f"The node {name} could not be made: {cause}.",
                "A private cluster needs root with CAP_SYS_ADMIN and overlayfs.",
            )
        state = state.with_holder(name, Holder.of(int(match[1])))
    save(state)
    return state


def _switch(state: ClusterState) -> HolderDescription:
    return HolderDescription(
        namespaces=CLONE_NEWNET,
        init=(shutil.which("sleep") or "/bin/sleep", "infinity"),
        environment={MARK: str(directory_of(state.spec.name)), f"{MARK}_NODE": SWITCH},
    )


def _node(state: ClusterState, directory: Path, node: str) -> HolderDescription:
    place = directory / "nodes" / node
    for name in ("upper/etc", "work", "root"):
        (place / name).mkdir(parents=True)
    # The merged directory shows the upper one's mode, whatever the umask here.
    for made in (place / "upper", place / "upper/etc"):
        made.chmod(0o755)
    (place / "upper/etc/hosts").write_text(network.hosts_file(state.addresses))
    (place / "upper/etc/hostname").write_text(f"{node}\n")
    binds = [(str(directory / name), f"/{name}", True) for name in ("home", "shared")]
    binds.append((str(directory / "conf"), "/etc/slurm", True))
    if state.layer:
        binds.append((state.layer, MOUNT_POINT, False))
    return HolderDescription(
        namespaces=NODE_NAMESPACES,
        init=("/usr/bin/tini", "--", "sleep", "infinity"),
        environment={MARK: str(directory), f"{MARK}_NODE": node},
        hostname=node,
        lower=state.image,
        upper=str(place / "upper"),
        work=str(place / "work"),
        root=str(place / "root"),
        binds=tuple(binds),
    )
