"""The one container per node, whatever way ranks get into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shim.container.image import check_image
from shim.container.placement import Additions
from shim.container.runtime import check_user_namespaces, find_runtime
from shim.options import ExecOptions
from shim.ticket import Fallback, Hello, Ticket


class Container(Protocol):
    """A running container of one step and node."""

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


async def start_container(order: StartOrder) -> Container:
    """Check what can be checked, then start the container the best way that works here.

    Raises:
        ShimError: no runtime, a bad image, or the runtime's own refusal.
    """
    runtime = find_runtime(order.options.runtime, order.env)
    check_image(order.options.image)
    check_user_namespaces(runtime)
    obstacle = runtime.why_no_join(order.options, os.geteuid())
    if obstacle is not None:
        from shim.container.instance import Instance  # spython takes 0.2 s to import

        return await Instance.start(runtime, order, obstacle)
    from shim.container.keeper import Keeper

    return await Keeper.start(runtime, order)
