"""What the runtime's own words mean when it could not start a container (pure but for the log)."""

from __future__ import annotations

import re
from pathlib import Path

from shim.errors import ShimError

_HINTS = (
    (
        r"user namespace|newuidmap|max_user_namespaces|CLONE_NEWUSER",
        "Unprivileged user namespaces seem to be off or used up on this node: "
        "run `shim doctor`, or ask the administrator.",
    ),
    (r"no space left|disk quota", "Free space in /tmp, in the home directory and on the node."),
    (r"/dev/fuse", "Ask the administrator for read and write permission on /dev/fuse."),
    (r"image targets|architecture", "Use an image built for this node's architecture."),
    (r"passphrase|encrypt|decrypt", "Give the image's key with --pem-path or --passphrase."),
    (r"mount .*bind|bind path|mount source", "Check the paths given with --bind on this node."),
    (r"working directory", "Name a directory that exists in the container with --pwd."),
    (r"[Ii]nstance .*not|no instance", "Start the instance on every node before the step."),
)
_DEFAULT_HINT = "Try the same options with the runtime's own `exec` on this node."

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_COMPLAINT = re.compile(r"^(FATAL|ERROR|WARNING)\s*:\s*(.*)$", re.MULTILINE)


def start_failure(image: str, status: int | None, log: Path) -> ShimError:
    """The error for a runtime that ended with *status* (None: it did not get there in time)."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        text = ""
    return describe(image, status, text)


def describe(image: str, status: int | None, text: str) -> ShimError:
    """The error from what the runtime wrote: its last fatal line tells the cause."""
    cause = last_complaint(text)
    if status is None:
        message = f"The container of {image} did not start in time"
    elif status < 0:
        message = f"The container runtime was killed by signal {-status} while starting {image}"
    else:
        message = f"The container runtime could not start {image}"
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, cause)), _DEFAULT_HINT)
    return ShimError(f"{message}{': ' + cause if cause else ''}.", hint)


def last_complaint(text: str) -> str:
    """The runtime's last FATAL or ERROR line without decoration, else its last line."""
    found = [entry for entry in _complaints(text) if entry[0] != "WARNING"]
    fatal = [words for kind, words in found if kind == "FATAL"] or [words for _, words in found]
    lines = fatal or [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else ""


def warnings(log: Path) -> tuple[str, ...]:
    """What the runtime warned of, each once."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ()
    found = [words for kind, words in _complaints(text) if kind == "WARNING"]
    return tuple(dict.fromkeys(found))


def _complaints(text: str) -> list[tuple[str, str]]:
    """(kind, words) of the runtime's own lines, which may be coloured."""
    return _COMPLAINT.findall(_COLOUR.sub("", text))
