"""The containers of this node's part of the step: one per image and set of options."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from shim.agent.guard import GuardPipe
from shim.container import Container, StartOrder
from shim.container.spawn import Spawned
from shim.container.start import start_container
from shim.options import ExecOptions

Key = tuple[tuple[str, ...], str, str | None]


class Containers:
    """Starts each container once, whoever asks first; all ranks that ask alike share it."""

    def __init__(
        self,
        env: Mapping[str, str],
        cwd: str,
        run_dir: Path,
        key: str,
        guard: GuardPipe,
        on_death: Callable[[str], None],
        head_start: Spawned | None = None,
    ) -> None:
        self._env = env
        self._cwd = cwd
        self._run_dir = run_dir
        self._key = key
        self._guard = guard
        self._on_death = on_death
        self._head_start = head_start
        self._started: dict[Key, asyncio.Task[Container]] = {}

    def start(self, options: ExecOptions) -> asyncio.Task[Container]:
        """Begin to start the container for *options*, unless that was done before."""
        key = (options.runtime_arguments, options.image, options.runtime)
        if key not in self._started:
            task = asyncio.get_running_loop().create_task(self._start(options))
            # A failure is told to every rank that asks; none may have asked yet.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._started[key] = task
        return self._started[key]

    async def _start(self, options: ExecOptions) -> Container:
        # Only the first that is asked for can have had it.
        spawned, self._head_start = self._head_start, None
        container = await start_container(
            StartOrder(
                options=options,
                env=self._env,
                cwd=self._cwd,
                run_dir=self._run_dir,
                key=self._key,
                on_death=self._on_death,
                spawned=spawned,
            )
        )
        for pid in container.pids:
            self._guard.keeper(pid)
        return container

    async def get(self, options: ExecOptions) -> Container:
        """The running container for *options*.

        Raises:
            ShimError: it cannot be started.
        """
        return await asyncio.shield(self.start(options))

    async def stop(self) -> None:
        """End them all, those that are still starting too."""
        tasks = list(self._started.values())
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(outcome, BaseException):
                await outcome.stop()
        self._started.clear()
