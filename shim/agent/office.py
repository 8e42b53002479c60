"""The ticket office: what the agent answers to each rank's front-end (shim/frontdoor.py)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from cpusets import CpuSet, RankPlacement
from shim.agent import shared_memory
from shim.agent.bindings import BindingReport
from shim.agent.containers import Containers
from shim.agent.ending import TOPIC
from shim.agent.guard import GuardPipe
from shim.agent.life import RankState, RankTable
from shim.agent.limits import limits_of
from shim.agent.node import Node
from shim.agent.placement import undeclared
from shim.agent.tasks import TaskWatch
from shim.agent.voice import Voice
from shim.container import Additions, Container
from shim.errors import ShimError
from shim.exit_status import exit_status
from shim.frontdoor import Peer
from shim.mapper import presentable
from shim.options import ExecOptions
from shim.ticket import Answer, Bound, Control, ExecFailed, Hello, Refuse, Reply, Ticket

if TYPE_CHECKING:
    from shim.agent.shares import Shares

log = logging.getLogger(__name__)

FINALIZE_LAG = 0.1
"""Seconds by which a rank's PMIx_Finalize may reach us after its death: both come through
different descriptors, and libpmix's thread stands between. Its parent reaps it meanwhile, which
is what its exit status waits for."""


class Session(Protocol):
    """What the office needs of the session."""

    def options_of(self, hello: Hello) -> ExecOptions | None:
        """The options of the container that a rank wants; None: it is native."""

    def partition_of(self, hello: Hello) -> str | None:
        """The partition that a process asks for."""

    @property
    def redeals(self) -> bool:
        """Whether the user's options, not the launcher, say which CPUs each rank gets."""

    def launchers_mask(self, rank: int) -> CpuSet | None:
        """The CPUs that the launcher says it bound the rank to."""

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
        self.shares: Shares | None = None
        self._planned: dict[int, CpuSet] = {}
        self._guests: set[int] = set()
        self._pidfds: dict[int, int] = {}
        self._mismatch = False

    def open(self, node: Node) -> None:
        """Ranks get their tickets from now on."""
        self.shares = node.shares
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
            additions = self._additions(node, hello, peer, options, container)
            # Only from here on does it need the guard: a waiting front-end ends by itself.
            self._guard.rank(peer.pid)
            if container is None:
                return native_ticket(hello, additions)
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
        self,
        node: Node,
        hello: Hello,
        peer: Peer,
        options: ExecOptions | None,
        container: Container | None,
    ) -> Additions:
        bind = options is None or options.bind_cpus
        plan = self._seat(node, hello, peer, bind)
        if bind:
            self._planned[hello.rank] = plan.cpus
            bind = not self._narrowed_itself(hello.rank, plan.cpus)
        memory = node.shared_memory
        if memory and not shared_memory.is_visible(memory, container):
            memory = None
        return node.additions(plan, hello.env, bind=bind, memory=memory)

    def _narrowed_itself(self, rank: int, plan: CpuSet) -> bool:
        """Whether a task gave up CPUs (taskset, numactl) before it called us, and meant it. Its
        launcher's mask is no such choice, nor is any mask where the user had CPUs dealt anew."""
        own = self.masks[rank]
        given = self._session.launchers_mask(rank)
        return bool(own) and own <= plan and own not in (plan, given) and not self._session.redeals

    def _seat(self, node: Node, hello: Hello, peer: Peer, bind: bool) -> RankPlacement:
        """The rank's planned part, or its place in the share that the process is put into."""
        planned = node.placement.of(hello.rank)
        name = self._session.partition_of(hello)
        if self.shares is None:
            if name is not None:
                raise undeclared(name)
            return planned
        with presentable():
            home, place = self.shares.place(hello.rank, name)
        if place.cpus != planned.cpus:
            self._guests.add(peer.pid)
        if bind:
            self.shares.enter(peer.pid, home, place)
        return place

    async def _refusal(self, error: ShimError, topic: str) -> Refuse:
        """The sentence goes to one rank of the job; the others end with the same code."""
        text = str(error) if await self._voice.may_say(topic) else ""
        return Refuse(error.exit_code, text)

    def bound(self, peer: Peer, bound: Bound, host_pid: int) -> None:
        rank, node = self._table.rank_of(peer.pid), self.node
        if rank is None or node is None:
            return
        effective = CpuSet.from_bytes(bound.cpus)
        if self.shares:
            with presentable():
                self.shares.arrived(peer.pid, effective)
        if self.report and peer.pid not in self._guests:
            limits = limits_of(host_pid, self._session.launchers_mask(rank), self.masks[rank])
            self.report.bound(rank, node.placement, effective, (host_pid, bound.pid), limits)
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
        self._guests.discard(peer.pid)
        if self.shares:
            self.shares.leave(peer.pid)
        rank = self._table.rank_of(peer.pid)
        if rank is None:
            return
        lag = FINALIZE_LAG if self._table.state(rank) is RankState.CONNECTED else 0.0
        asyncio.get_running_loop().call_later(lag, self._bury, rank, peer.pid)

    async def control(self, request: Control) -> Reply:
        from shim.agent.control import answer  # few steps are asked anything

        return answer(request.words, self.shares)

    def _bury(self, rank: int, pid: int) -> None:
        pidfd = self._pidfds.pop(pid, None)
        status = None
        if pidfd is not None:
            status = exit_status(pidfd)
            os.close(pidfd)
        self._session.rank_gone(rank, self._table.gone(pid), status)


def native_ticket(hello: Hello, additions: Additions) -> Ticket:
    """For a rank outside any container: its own environment without the launcher's PMIx."""
    own = {name: value for name, value in hello.env.items() if not name.startswith("PMIX_")}
    own.pop("SHIM_FRONTEND", None)
    return Ticket(
        namespaces=(),
        env={**own, **additions.env},
        cwd=hello.cwd,
        home="/",
        cpus=additions.cpus,
        memory_policy=additions.memory_policy,
        notes=additions.notes,
    )
