"""What a container is started with, and what it then offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shim.container.placement import Additions
from shim.container.spawn import Spawned
from shim.options import ExecOptions
from shim.ticket import Fallback, Hello, Ticket


@dataclass(frozen=True)
class StartOrder:
    """What a container is started with."""

    options: ExecOptions
    env: Mapping[str, str]
    """In which the runtime runs; ranks' environments are derived from what it makes of it."""
    cwd: str
    run_dir: Path
    """For its log."""
    key: str
    """Names the step on this node."""
    on_death: Callable[[str], None]
    """Called with a sentence, once, if it ends before `stop`."""
    spawned: Spawned | None = None
    """The runtime, if it had a head start."""


class Container(Protocol):
    """The one container of a step on a node, whatever way ranks get into it."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Host pids that the guard must end if the agent dies."""

    @property
    def report(self) -> str | None:
        """What the user should know about how ranks get in; None: nothing special."""

    def admit(self, hello: Hello, additions: Additions) -> Ticket | Fallback:
        """How the rank gets in. Raises ShimError where it cannot."""

    async def stop(self) -> None:
        """End it and wait until nothing of it is left."""


class CannotJoin(Exception):
    """Ranks cannot enter this container's namespaces; its text says why."""
