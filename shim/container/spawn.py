"""Starting the runtime with the keeper in it; what the keeper is, its own module tells.

No asyncio here: the agent spawns before it has loaded the rest of itself (headstart.py).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shim.container.environment import INTERNAL
from shim.errors import ShimError
from shim.options import ExecOptions

LOG = "runtime.log"


@dataclass(frozen=True)
class Spawned:
    """A runtime that is starting its container."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    """The keeper's standard input is its other end."""


def keeper_program(env: Mapping[str, str]) -> str:
    """The static program `shim`, as the front-end names itself.

    Raises:
        ShimError: it is not there.
    """
    found = env.get("SHIM_FRONTEND") or shutil.which("shim")
    if not found or not os.access(found, os.R_OK | os.X_OK):
        raise ShimError(
            "The program `shim` was not found by its own agent.",
            "Put its directory on PATH, or install shim again.",
        )
    return found


def spawn(
    runtime: str, options: ExecOptions, env: Mapping[str, str], cwd: str, run_dir: Path
) -> Spawned:
    """Run `RUNTIME exec OPTIONS IMAGE shim _hold`; its output goes to *run_dir*/runtime.log.

    Raises:
        ShimError: it cannot be executed.
    """
    ours, theirs = socket.socketpair()
    # The kernel tells the sender's pid as we see it, even from a PID namespace (unix(7)).
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    ours.setblocking(False)
    program = os.open(keeper_program(os.environ), os.O_RDONLY | os.O_CLOEXEC)
    command = [f"/proc/self/fd/{program}", "_hold"]
    try:
        with theirs, (run_dir / LOG).open("wb") as output:
            process = subprocess.Popen(
                [runtime, "exec", *options.runtime_arguments, options.image, *command],
                stdin=theirs.fileno(),
                stdout=output,
                stderr=output,
                cwd=cwd,
                env={name: value for name, value in env.items() if name not in INTERNAL},
                pass_fds=(program,),
                # Signals of a terminal are for the ranks.
                start_new_session=True,
            )
    except OSError as error:
        ours.close()
        raise ShimError(
            f"The container runtime {runtime} could not be started: {error.strerror}.",
            "Check its installation with `apptainer --version`.",
        ) from error
    finally:
        os.close(program)
    return Spawned(process, ours)
