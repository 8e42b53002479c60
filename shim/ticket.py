"""What passes between a rank's front-end (C) and its agent, as values.

One conversation per rank, over a unix socket:

    front-end            agent
    Hello       ──▶
                ◀──      Progress*           while the container starts
                ◀──      Ticket | Fallback | Refuse
    Bound       ──▶                          the effective CPU mask, read back in the container
    (close)     ──▶                          the socket is close-on-exec: the program runs
    ExecFailed  ──▶                          or it does not

and one per command of a user (`shim partition`): Control ──▶, ◀── Reply.

shim/ticket_wire.py has the codec, c_ext/frontend the other end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Hello:
    """A rank's front-end presents itself."""

    rank: int
    options: tuple[str, ...]
    """Everything before the command, image included, as typed."""
    command: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    cpus: bytes
    """Its affinity mask, little-endian (bit n of byte n/8 is PU n), trailing zeros cut."""
    umask: int


@dataclass(frozen=True)
class Progress:
    """One line for the user while the container starts."""

    text: str


@dataclass(frozen=True)
class MemoryPolicy:
    """set_mempolicy(2): the mode's number and the node mask, little-endian."""

    mode: int
    nodes: bytes


@dataclass(frozen=True)
class Capabilities:
    """Sets that execve(2) computes the program's capabilities from (capabilities(7)), as masks."""

    bounding: int
    inheritable: int
    ambient: int


@dataclass(frozen=True)
class Namespace:
    """A namespace to enter: its clone flag (setns(2)) and an open descriptor of it."""

    flag: int
    fd: int


@dataclass(frozen=True)
class Ticket:
    """What the front-end becomes before it executes the command.

    An empty *namespaces* is a native rank. None means: leave as it is.
    """

    namespaces: tuple[Namespace, ...]
    """In the order in which to enter them: user first, pid last."""
    env: Mapping[str, str]
    cwd: str
    home: str
    """Where to go if *cwd* does not exist in the container, before `/`."""
    cwd_required: bool = False
    """The user named *cwd* (--pwd): its absence is an error."""
    cpus: bytes | None = None
    memory_policy: MemoryPolicy | None = None
    no_new_privs: bool = False
    capabilities: Capabilities | None = None
    umask: int | None = None
    notes: tuple[str, ...] = ()
    """Lines for the user."""


@dataclass(frozen=True)
class Fallback:
    """Execute *argv* on the host instead: the runtime's own way into the container."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cpus: bytes | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refuse:
    """The rank does not start."""

    exit_code: int
    text: str


@dataclass(frozen=True)
class Bound:
    """The last word before execve: the effective mask, and the pid as the container sees it."""

    cpus: bytes
    pid: int


@dataclass(frozen=True)
class ExecFailed:
    """execve failed after Bound."""

    errno: int
    path: str


@dataclass(frozen=True)
class Control:
    """A user asks something of the agent, instead of a rank's Hello."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Reply:
    """What came of it: 0 and the text for standard output, or a failure and its sentence."""

    exit_code: int
    text: str


Answer = Ticket | Fallback | Refuse
Frame = Hello | Progress | Ticket | Fallback | Refuse | Bound | ExecFailed | Control | Reply
