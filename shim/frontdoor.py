"""The agent's door: takes each rank's front-end in, asks an office for its ticket, sees it off.

Runs on the agent's asyncio loop over the socket that the front-end's guard has bound
(c_ext/frontend/rendezvous.h). Nothing that a peer sends may disturb the others: a malformed,
silent or foreign connection is closed and forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from typing import Protocol

from shim.errors import EXIT_SHIM, ShimError
from shim.process_watch import ProcessWatch
from shim.rank_socket import RankSocket
from shim.ticket import Answer, Bound, Control, ExecFailed, Hello, Progress, Refuse, Reply
from shim.ticket_wire import MalformedFrame

_HELLO_SECONDS = 30.0
"""How long a connection may take to present itself. 1 MB of environment takes milliseconds."""


@dataclass(frozen=True)
class Peer:
    """A rank's process: the Slurm task itself, or the child that our own launcher forked."""

    pid: int
    """Host pid. With a PID namespace it is that of the proxy (c_ext/frontend/proxy.h)."""


class TicketOffice(Protocol):
    """What the agent decides about ranks. All calls come from the event loop.

    Order for one peer: `ticket`; then, if it was a Ticket or Fallback, `bound`, and `started` or
    `exec_failed`; and at last, always, `gone`.
    """

    async def ticket(self, hello: Hello, peer: Peer) -> Answer:
        """Decide; may wait as long as the container needs. A ShimError becomes a refusal.

        Cancelled if the front-end dies meanwhile. The descriptors in a Ticket stay the caller's.
        """

    def bound(self, peer: Peer, bound: Bound, host_pid: int) -> None:
        """The rank has read its affinity back; *host_pid* is that of the process that did."""

    def started(self, peer: Peer) -> None:
        """Its program runs."""

    def exec_failed(self, peer: Peer, failure: ExecFailed) -> None:
        """Its program could not be executed; the front-end has told the user."""

    def gone(self, peer: Peer) -> None:
        """Its process has ended."""

    async def control(self, request: Control) -> Reply:
        """A user of ours asks something of the agent."""


class FrontDoor:
    """Serves one listening socket, and connections handed over with `adopt`."""

    def __init__(
        self,
        office: TicketOffice,
        listener: socket.socket | None = None,
        *,
        progress_after: float = 1.0,
    ) -> None:
        self._office = office
        self._listener = listener
        self._progress_after = progress_after
        self._progress = ""
        self._spokesman: Peer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to accept."""
        if self._listener is not None:
            self._listener.setblocking(False)
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def progress(self, text: str) -> None:
        """What the user may read, on one rank's stderr, if the wait becomes long."""
        self._progress = text

    def adopt(self, connection: socket.socket, pid: int) -> None:
        """Serve the front-end *pid* at the other end of a socket pair (`shim _rank`)."""
        self._serve(connection, Peer(pid))

    def close(self) -> None:
        """Stop accepting; conversations go on. New front-ends are refused by the kernel."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def settle(self, patience: float) -> None:
        """Let conversations with processes that have ended come to their end, which may wait in
        the socket while the process's exit is known already; at most *patience* seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)

    async def stop(self) -> None:
        """Stop accepting and drop every conversation."""
        self.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # none waits, or it has gone again, or no descriptor is left for it now
            peer = _trusted_peer(connection)
            if peer is None:
                connection.close()
            else:
                self._serve(connection, peer)

    def _serve(self, connection: socket.socket, peer: Peer) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(connection, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, connection: socket.socket, peer: Peer) -> None:
        rank = RankSocket(connection)
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                frame, _ = await rank.receive()
        except (MalformedFrame, OSError, EOFError, TimeoutError):
            rank.close()
            return
        ended = _ProcessEnd(peer.pid)
        try:
            if isinstance(frame, Hello):
                await self._serve_rank(rank, peer, frame, ended)
            elif isinstance(frame, Control):
                with contextlib.suppress(OSError):
                    await rank.send(await self._office.control(frame))
        finally:
            rank.close()
            ended.close()

    async def _serve_rank(
        self, rank: RankSocket, peer: Peer, hello: Hello, ended: _ProcessEnd
    ) -> None:
        try:
            answer = await self._decide(rank, peer, hello, ended)
            if answer is not None:
                await rank.send(answer)
                if not isinstance(answer, Refuse):
                    await self._see_off(rank, peer)
        except (MalformedFrame, OSError):
            pass  # its end, below, is what counts
        finally:
            rank.close()
        await ended.wait()
        self._office.gone(peer)

    async def _decide(
        self, rank: RankSocket, peer: Peer, hello: Hello, ended: _ProcessEnd
    ) -> Answer | None:
        """The office's answer, or None if the front-end has ended."""
        decision = asyncio.ensure_future(self._ask(hello, peer))
        death = asyncio.ensure_future(ended.wait())
        self._spokesman = self._spokesman or peer
        shown = ""
        try:
            while not decision.done() and not death.done():
                await asyncio.wait(
                    {decision, death},
                    timeout=self._progress_after,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not decision.done() and self._spokesman is peer and self._progress != shown:
                    shown = self._progress
                    with contextlib.suppress(OSError):
                        await rank.send(Progress(shown))
            return decision.result() if decision.done() else None
        finally:
            death.cancel()
            decision.cancel()
            await asyncio.gather(death, decision, return_exceptions=True)
            if self._spokesman is peer:
                self._spokesman = None

    async def _ask(self, hello: Hello, peer: Peer) -> Answer:
        try:
            return await self._office.ticket(hello, peer)
        except ShimError as error:
            return Refuse(error.exit_code or EXIT_SHIM, str(error))

    async def _see_off(self, rank: RankSocket, peer: Peer) -> None:
        """From the ticket to execve, which closes the socket."""
        failed = bound = False
        while True:
            try:
                frame, sender = await rank.receive()
            except EOFError:
                break
            if isinstance(frame, Bound):
                bound = True
                self._office.bound(peer, frame, sender or peer.pid)
            elif isinstance(frame, ExecFailed):
                failed = True
                self._office.exec_failed(peer, frame)
        if bound and not failed:
            self._office.started(peer)


_CREDENTIALS = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid."""


def _trusted_peer(connection: socket.socket) -> Peer | None:
    """The peer, if it is a process of our user in a PID namespace that we see."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return Peer(pid) if uid == os.geteuid() and pid > 0 else None


class _ProcessEnd:
    """The end of one process, as something to wait for."""

    def __init__(self, pid: int) -> None:
        self._ended = asyncio.Event()
        self._watch = ProcessWatch(lambda _pid, _name: self._ended.set())
        if not self._watch.add(pid, ""):
            self._ended.set()

    async def wait(self) -> None:
        await self._ended.wait()

    def close(self) -> None:
        self._watch.close()
