"""Processes on a node: how a command gets in, and how to signal it there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from shim.errors import ShimError
from testbed.image import USERS
from testbed.state import Holder

_USER_PATH = "/usr/local/bin:/usr/bin:/bin"
_ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FORK_TIME = 1.0
"""Seconds within which nsenter has forked the command, or never will."""

_UIDS = {"root": 0, **dict(USERS)}


def home_of(user: str) -> str:
    """Home directory of a user, as seen on every node."""
    return "/root" if user == "root" else f"/home/{user}"


def entering(holder: Holder, argv: Sequence[str]) -> list[str]:
    """The command that runs ``argv`` as root in all namespaces of a node."""
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid"]
    return ["nsenter", f"--target={holder.pid}", *namespaces, "--", *argv]


def logging_in(
    holder: Holder,
    argv: Sequence[str],
    *,
    user: str = "demo",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> list[str]:
    """The command that runs ``argv`` on a node as ``user`` with the environment of a login.

    Nothing of the caller's environment comes along but the terminal's type; ``env`` is added.
    """
    if user not in _UIDS:
        raise ShimError(f"The nodes have no user {user!r}.", f"Choose one of {', '.join(_UIDS)}.")
    home = home_of(user)
    variables = {
        "HOME": home,
        "LANG": "C.UTF-8",
        "LOGNAME": user,
        "PATH": _ROOT_PATH if user == "root" else _USER_PATH,
        "SHELL": "/bin/bash",
        "USER": user,
    }
    if "TERM" in os.environ:
        variables["TERM"] = os.environ["TERM"]
    variables |= env or {}
    assignments = [f"{name}={value}" for name, value in variables.items()]
    uid = _UIDS[user]
    identity = [f"--reuid={uid}", f"--regid={uid}", "--init-groups", "--inh-caps=-all"]
    become = [] if user == "root" else ["setpriv", *identity, "--"]
    # Whoever waits for the command at a terminal ignores the keyboard's signals; it must not.
    signals = "--default-signal=INT,QUIT"
    clean = ["env", "-i", signals, f"--chdir={cwd or home}", "--", *assignments]
    return entering(holder, [*become, *clean, *argv])


class NodeProcess(subprocess.Popen[str]):
    """A running command on a node.

    The process that Popen knows is nsenter's, which waits outside the node's PID namespace;
    signals go to the command itself, so that ``send_signal``, ``terminate`` and ``kill`` mean
    what they say.
    """

    @property
    def inner_pid(self) -> int | None:
        """Host pid of the command; None before it started and after it ended."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        try:
            found = children.read_text().split()
        except OSError:
            return None
        return int(found[0]) if found else None

    def send_signal(self, sig: int) -> None:
        """Send a signal to the command on the node."""
        deadline = time.monotonic() + _FORK_TIME
        while self.poll() is None:
            target = self.inner_pid
            if target is not None:
                os.kill(target, sig)
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.001)
        # nsenter stops itself when its child is stopped, and must be woken too.
        if sig in (signal.SIGKILL, signal.SIGCONT):
            super().send_signal(sig)


def run_to_end(
    command: Sequence[str], *, input: str | None, timeout: float | None
) -> subprocess.CompletedProcess[str]:
    """Run a command with its output captured; at the time-out end its whole session.

    Raises subprocess.TimeoutExpired with what it had written by then.
    """
    with NodeProcess(
        command,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException as error:
            end_session(process)
            out, err = process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise subprocess.TimeoutExpired(command, error.timeout, out, err) from None
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def end_session(process: subprocess.Popen[str]) -> None:
    """Kill every process of the group that ``process`` leads, inside and outside the node."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
