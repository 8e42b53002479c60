"""The keeper: one process of the runtime's `exec` that holds the container open for all ranks.

`instance start` would always make a PID namespace (launcher_linux.go), so that /proc of a rank
that joins without one would be foreign. A plain `exec` of a process that only waits has by
construction the namespaces, mounts and environment that each rank would have had by itself.

That process is `shim _hold`, executed as an inherited descriptor (/proc/self/fd/N): nothing of
the image is needed, and no shell adds variables of its own. Its standard input is our socket;
when this process ends, however, the keeper sees the end of it, and the runtime takes everything
down.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

from shim.container.admission import admit
from shim.container.order import CannotJoin, StartOrder
from shim.container.placement import Additions
from shim.container.runtime import Runtime
from shim.container.spawn import LOG, spawn
from shim.container.troubles import start_failure, warnings
from shim.container.view import (
    ContainerView,
    children,
    command_name,
    open_namespaces,
    own_umask,
    read_view,
)
from shim.process_watch import ProcessWatch, Stragglers
from shim.ticket import Hello, Namespace, Ticket

_CREDENTIALS = struct.Struct("3i")
_FILE_SERVERS = ("squashfuse", "fuse", "gocryptfs")
_SETTLE_SECONDS = 0.1
_STOP_SECONDS = 5.0
"""The runtime needs some milliseconds to unmount; a hung FUSE server is not waited for."""


class Keeper:
    """A container that ranks join by setns(2)."""

    report: str | None = None

    def __init__(
        self,
        order: StartOrder,
        runtime: subprocess.Popen[bytes],
        channel: socket.socket,
        view: ContainerView,
    ) -> None:
        self.view = view
        self._order = order
        self._runtime = runtime
        self._channel = channel
        self._umask = own_umask()
        self._warnings = warnings(order.run_dir / LOG)
        self.namespaces = tuple(Namespace(flag, fd) for flag, fd in open_namespaces(view.pid))
        self._stopping = False
        # The runtime's children beside the keeper are its FUSE servers: without them the image
        # is gone although the namespaces live, and without the runtime nobody would end them.
        self._helpers = tuple(child for child in children(runtime.pid) if child != view.pid)
        self._watch = ProcessWatch(self._on_end)
        for pid in self.pids:
            self._watch.add(pid, command_name(pid))

    @classmethod
    async def start(cls, runtime: Runtime, order: StartOrder) -> Keeper:
        """Start the runtime and wait until the keeper speaks.

        Raises:
            ShimError: the runtime refused, or did not get there in time.
            CannotJoin: it runs, but ranks cannot become what its own `exec` would make of them.
        """
        log = order.run_dir / LOG
        spawned = order.spawned or spawn(
            runtime.path, order.options, order.env, order.cwd, order.run_dir
        )
        process, channel = spawned.process, spawned.channel
        try:
            pid = await _await_keeper(process, channel, order, log)
            view = read_view(pid)
            _check_seccomp(view)
            return cls(order, process, channel, view)
        except BaseException:
            channel.close()
            await _end(process)
            raise

    @property
    def pids(self) -> tuple[int, ...]:
        return (self.view.pid, self._runtime.pid, *self._helpers)

    def admit(self, hello: Hello, additions: Additions) -> Ticket:
        # The runtime warned once for all ranks: the first one shows it.
        notes, self._warnings = self._warnings, ()
        return admit(
            hello,
            replace(additions, notes=(*notes, *additions.notes)),
            view=self.view,
            namespaces=self.namespaces,
            options=self._order.options,
            base_env=self._order.env,
            base_cwd=self._order.cwd,
            base_umask=self._umask,
        )

    async def stop(self) -> None:
        self._stopping = True
        self._watch.close()
        helpers = Stragglers(self._helpers)
        # Our descriptors would keep the mount namespace, and with it the FUSE mount, whose server
        # the runtime gives a second to leave (imagedriver.go, stop).
        for space in self.namespaces:
            os.close(space.fd)
        self.namespaces = ()
        self._channel.close()
        await _end(self._runtime)
        await helpers.end()

    def _on_end(self, pid: int, name: str) -> None:
        if self._stopping:
            return
        self._stopping = True
        # The runtime's death kills the keeper too, and that may be noticed first.
        asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._report_death, pid, name)

    def _report_death(self, pid: int, name: str) -> None:
        if pid == self._runtime.pid or (self._runtime.poll() or 0) < 0:
            pid, what = self._runtime.pid, "The container runtime"
        elif pid == self.view.pid:
            what = "The process that keeps the container"
        elif name.startswith(_FILE_SERVERS):
            what = f"The server of the container's file system ({name})"
        else:
            what = f"The container's process {name}"
        self._order.on_death(f"{what} ended (pid {pid}), so the ranks on this node are ended.")


async def _await_keeper(
    process: subprocess.Popen[bytes], channel: socket.socket, order: StartOrder, log: Path
) -> int:
    """The keeper's host pid."""
    loop = asyncio.get_running_loop()
    spoke = loop.create_future()

    def on_readable() -> None:
        if not spoke.done():
            spoke.set_result(None)

    loop.add_reader(channel, on_readable)
    try:
        async with asyncio.timeout(order.options.start_timeout):
            await spoke
        data, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
    except TimeoutError as error:
        raise start_failure(order.options.image, None, log) from error
    except ConnectionResetError:
        data, ancillary = b"", []
    finally:
        loop.remove_reader(channel)
    if not data:
        status = await _end(process)
        raise start_failure(order.options.image, status, log)
    return int(_CREDENTIALS.unpack(ancillary[0][2][: _CREDENTIALS.size])[0])


def _check_seccomp(view: ContainerView) -> None:
    if view.seccomp and not read_view(os.getpid()).seccomp:
        raise CannotJoin("The container has a seccomp filter, which a joining rank cannot install")


async def _end(process: subprocess.Popen[bytes]) -> int:
    """Wait for the runtime, whose keeper sees the end of its input; kill what does not go."""
    for patience in (_STOP_SECONDS, None):
        try:
            async with asyncio.timeout(patience):
                return await _wait(process)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("unreachable")


async def _wait(process: subprocess.Popen[bytes]) -> int:
    ended = asyncio.Event()
    watch = ProcessWatch(lambda _pid, _name: ended.set())
    try:
        if process.poll() is None and watch.add(process.pid, ""):
            await ended.wait()
        return process.wait()
    finally:
        watch.close()
