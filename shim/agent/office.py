"""The ticket office: what the agent answers to each rank's front-end (shim/frontdoor.py)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from typing import Protocol

from cpusets import CpuSet
from shim.agent import shared_memory
from shim.agent.bindings import BindingReport
from shim.agent.containers import Containers
from shim.agent.ending import TOPIC
from shim.agent.guard import GuardPipe
from shim.agent.life import RankState, RankTable
from shim.agent.node import Node
from shim.agent.tasks import TaskWatch
from shim.agent.voice import Voice
from shim.container import Additions, Container
from shim.errors import ShimError
from shim.exit_status import exit_status
from shim.frontdoor import Peer
from shim.options import ExecOptions
from shim.ticket import Answer, Bound, ExecFailed, Hello, Refuse, Ticket

log = logging.getLogger(__name__)

FINALIZE_LAG = 0.1
"""Seconds by which a rank's PMIx_Finalize may reach us after its death: both come through
different descriptors, and libpmix's thread stands between. Its parent reaps it meanwhile, which
is what its exit status waits for."""


class Session(Protocol):
    """What the office needs of the session."""

    def options_of(self, hello: Hello) -> ExecOptions | None:
        """The options of the container that a rank wants; None: it is native."""

    def rank_gone(self, rank: int, owed: bool, status: int | None) -> None:
        """A rank's process ended; *owed*: between PMIx_Init and PMIx_Finalize."""


class Office:
    """Implements `shim.frontdoor.TicketOffice`."""

    report: BindingReport | None = None

    def __init__(
        self,
        session: Session,
        table: RankTable,
        containers: Containers,
        guard: GuardPipe,
        voice: Voice,
        on_task_end: Callable[[], None],
    ) -> None:
        self.ready: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        self.tasks = TaskWatch(on_task_end)
        self.masks: dict[int, CpuSet] = {}
        """The front-ends' own masks, by rank."""
        self.arrival = asyncio.Event()
        self._session = session
        self._table = table
        self._containers = containers
        self._guard = guard
        self._voice = voice
        self._planned: dict[int, CpuSet] = {}
        self._pidfds: dict[int, int] = {}
        self._mismatch = False

    def open(self, node: Node) -> None:
        """Ranks get their tickets from now on."""
        self.ready.set_result(node)

    def refuse_all(self, error: ShimError) -> None:
        """No rank can run."""
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # seen: there may be no rank that asks

    @property
    def node(self) -> Node | None:
        """This node, if it was ever ready."""
        done = self.ready.done() and not self.ready.cancelled()
        return self.ready.result() if done and self.ready.exception() is None else None

    async def ticket(self, hello: Hello, peer: Peer) -> Answer:
        self._arrive(hello, peer)
        try:
            node = await asyncio.shield(self.ready)
            if hello.rank not in node.layout.here.ranks:
                raise ShimError(
                    f"Rank {hello.rank} does not belong to this node.",
                    "Let the launcher start each task once; do not change PMIX_RANK.",
                )
            options = self._session.options_of(hello)
            container = await self._containers.get(options) if options else None
            additions = self._additions(node, hello, options, container)
            # Only from here on does it need the guard: a waiting front-end ends by itself.
            self._guard.rank(peer.pid)
            if container is None:
                return native_ticket(hello, additions.env, additions.cpus)
            return container.admit(hello, additions)
        except ShimError as error:
            return await self._refusal(error, TOPIC if self.node is None else error.message)

    def _arrive(self, hello: Hello, peer: Peer) -> None:
        self._table.started(hello.rank, peer.pid)
        self.tasks.note(peer.pid)
        try:
            self._pidfds[peer.pid] = os.pidfd_open(peer.pid)
        except ProcessLookupError:
            log.info("rank %d ended while it said hello", hello.rank)
        self.masks[hello.rank] = CpuSet.from_bytes(hello.cpus)
        self.arrival.set()

    def _additions(
        self, node: Node, hello: Hello, options: ExecOptions | None, container: Container | None
    ) -> Additions:
        bind = options is None or options.bind_cpus
        if bind:
            plan = self._planned[hello.rank] = node.placement.of(hello.rank).cpus
            # A task that narrowed itself (taskset, numactl) before it called us meant it.
            own = self.masks[hello.rank]
            bind = not own or not own <= plan or own == plan
        memory = node.shared_memory
        if memory and not shared_memory.is_visible(memory, container):
            memory = None
        return node.additions(hello.rank, hello.env, bind=bind, memory=memory)

    async def _refusal(self, error: ShimError, topic: str) -> Refuse:
        """The sentence goes to one rank of the job; the others end with the same code."""
        text = str(error) if await self._voice.may_say(topic) else ""
        return Refuse(error.exit_code, text)

    def bound(self, peer: Peer, bound: Bound, host_pid: int) -> None:
        rank, node = self._table.rank_of(peer.pid), self.node
        if rank is None or node is None:
            return
        effective = CpuSet.from_bytes(bound.cpus)
        if self.report:
            self.report.bound(rank, node.placement, effective, (host_pid, bound.pid))
        elif self._planned.get(rank, effective) != effective and not self._mismatch:
            self._mismatch = True  # the ranks of a node miss their CPUs for one reason
            self._voice.say(
                f"shim: Rank {rank} was to run on CPUs {self._planned[rank]} and runs on "
                f"{effective}. See all ranks with --report-bindings."
            )

    def started(self, peer: Peer) -> None:
        log.info("rank %s runs as pid %d", self._table.rank_of(peer.pid), peer.pid)

    def exec_failed(self, peer: Peer, failure: ExecFailed) -> None:
        """The front-end has told the user, and its exit code is the launcher's business."""
        log.info("rank %s: %s", self._table.rank_of(peer.pid), os.strerror(failure.errno))

    def gone(self, peer: Peer) -> None:
        self._guard.gone(peer.pid)
        rank = self._table.rank_of(peer.pid)
        if rank is None:
            return
        lag = FINALIZE_LAG if self._table.state(rank) is RankState.CONNECTED else 0.0
        asyncio.get_running_loop().call_later(lag, self._bury, rank, peer.pid)

    def _bury(self, rank: int, pid: int) -> None:
        pidfd = self._pidfds.pop(pid, None)
        status = None
        if pidfd is not None:
            status = exit_status(pidfd)
            os.close(pidfd)
        self._session.rank_gone(rank, self._table.gone(pid), status)


def native_ticket(hello: Hello, added: Mapping[str, str], cpus: bytes | None) -> Ticket:
    """For a rank outside any container: its own environment without the launcher's PMIx."""
    own = {name: value for name, value in hello.env.items() if not name.startswith("PMIX_")}
    own.pop("SHIM_FRONTEND", None)
    return Ticket(namespaces=(), env={**own, **added}, cwd=hello.cwd, home="/", cpus=cpus)
