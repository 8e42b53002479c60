"""One step on one node: bring up, let the ranks in, watch them, take down.

The session is the ranks' ticket office (shim/frontdoor.py). What it decides with is pure and
elsewhere: context, layout, placement, the rank table. `ExecSession` and `RunSession` differ in
where ranks come from and in who ends them.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from cpusets import CpuSet, CpusetsError, Topology
from pmix_server import Proc, Upstream, UpstreamJob
from pmix_server.collectives import Collectives
from shim.agent.bindings import BindingReport, report_path
from shim.agent.containers import Containers
from shim.agent.context import read_context
from shim.agent.guard import GuardPipe
from shim.agent.host import AgentHost
from shim.agent.life import RankState, RankTable
from shim.agent.links import Links, connect_upstream, open_links
from shim.agent.node import Node, container_ids, job_spec, start_server
from shim.agent.placement import Placement
from shim.agent.settings import Settings
from shim.errors import ShimError
from shim.frontdoor import FrontDoor, Peer
from shim.layout import Layout
from shim.options import ExecOptions
from shim.overlay.lifecycle import Abort, Lifecycle, Notice, PartEnded
from shim.ticket import Answer, Bound, ExecFailed, Hello, Refuse, Ticket

log = logging.getLogger(__name__)

FINALIZE_LAG = 0.1
"""Seconds by which a rank's PMIx_Finalize may reach us after its death: both come through
different descriptors, and libpmix's thread stands between."""

LINGER = 10.0
"""Seconds to wait for ranks that have not come yet when no other is left."""

TAKE_DOWN = 5.0
"""Seconds for each part of the take-down; a hung file system must not hold the step."""


class Session(abc.ABC):
    """The common part."""

    def __init__(self, settings: Settings, env: Mapping[str, str]) -> None:
        self.settings = settings
        self.env = dict(env)
        self.cwd = env.get("PWD") or os.getcwd()
        self.context = read_context(env)
        self.guard = GuardPipe(settings.guard_fd)
        self.guard_pid = os.getppid()
        self.door = FrontDoor(self, socket.socket(fileno=settings.listen_fd))
        self.containers = Containers(
            self.env, self.cwd, settings.run_dir, settings.key, self.guard, self._on_container_death
        )
        self.table = RankTable()
        self.code = 0
        self.masks: dict[int, CpuSet] = {}
        """The front-ends' own masks, by rank."""
        self.arrival = asyncio.Event()
        self._ready: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._ending = self._spoken = self._fatal = self._terminated = False
        self._ranks: dict[int, int] = {}
        self._planned: dict[int, CpuSet] = {}
        self._ended_nodes: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._upstream: Upstream | None = None
        self._links: Links | None = None
        self._lifecycle: Lifecycle | None = None
        self._report: BindingReport | None = None

    # What the two kinds of session do differently.

    @abc.abstractmethod
    async def plan(self, links: Links, topology: Topology) -> tuple[Layout, Placement]:
        """Which ranks are here and on which CPUs."""

    @abc.abstractmethod
    def options_of(self, hello: Hello) -> ExecOptions | None:
        """The options of the container that a rank wants; None: it is native."""

    @abc.abstractmethod
    def first_options(self) -> Sequence[ExecOptions]:
        """Containers that will be wanted for sure, to be started at once."""

    @abc.abstractmethod
    async def launch(self, node: Node) -> None:
        """Called when the node is ready."""

    @abc.abstractmethod
    async def end_ranks(self, code: int, text: str, *, everywhere: bool) -> None:
        """End the ranks here, and those of the other nodes if *everywhere*."""

    # The life of the session.

    async def run(self) -> int:
        """Serve until the last rank of this node is gone; returns the agent's exit code."""
        self.door.start()
        work = self.spawn(self._bring_up())
        await self._over.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await self._take_down()
        return self.code

    async def _bring_up(self) -> None:
        try:
            node = await self._prepare()
            self._ready.set_result(node)
            await self.launch(node)
        except ShimError as error:
            await self._give_up(error)
        except Exception as error:
            log.exception("bringing up failed")
            text = "The agent met an error that it does not know."
            await self._give_up(ShimError(text, f"Report it, with {type(error).__name__}: {error}"))

    async def _prepare(self) -> Node:
        self.door.progress("starting the container")
        started = [self.containers.start(options) for options in self.first_options()]
        topology, (upstream, job) = await asyncio.gather(
            asyncio.to_thread(_load_topology),
            connect_upstream(self.upstream_mode(), self.env),
        )
        self._upstream = upstream
        links = self._links = await self._open_links(upstream, job)
        layout, placement = await self.plan(links, topology)
        self.table.expect(layout.here.ranks)
        self._start_report(links, layout)
        server = None
        if self.wants_pmix():
            ids = container_ids(any(options.has("fakeroot") for options in self.first_options()))
            spec = job_spec(links, layout, placement, self.context, self.env, ids)
            server = await start_server(self._host, links, spec, self.settings.run_dir / "pmix")
        self.door.progress("starting the container")
        await asyncio.gather(*(asyncio.shield(task) for task in started))
        for task in started:
            if text := task.result().report:
                self.say(text)
        return Node(layout, placement, server)

    def upstream_mode(self) -> Any:
        return self.settings.pmix_mode

    def wants_pmix(self) -> bool:
        return True

    async def _open_links(self, upstream: Upstream, job: UpstreamJob) -> Links:
        links = await open_links(upstream, job, self.settings.start_timeout, self.door.progress)
        links.mesh.on_lost(self._on_node_lost)
        self._lifecycle = Lifecycle(links.mesh, self._on_notice)
        return links

    def _start_report(self, links: Links, layout: Layout) -> None:
        target = self.settings.report_to
        if target is not None:
            path = report_path(target, self.cwd) if links.mesh.index == 0 else ""
            self._report = BindingReport(
                links.mesh, layout.here.name, layout.here.ranks, path, self.say
            )

    def _host(self, collectives: Collectives) -> AgentHost:
        return AgentHost(collectives, self.table.connected, self._on_finalized, self._on_abort)

    async def _give_up(self, error: ShimError) -> None:
        """Nothing can run: tell one waiting rank, or through the guard, and end the step."""
        self.code = error.exit_code
        self._ending = True
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # seen: there may be no rank that asks
        await self.absence(2.0)
        if not self._spoken:
            self._spoken = self._fatal = True
            self.guard.fatal(error.exit_code, str(error))
        if self._upstream and not self.alone():
            await self.end_ranks(error.exit_code, error.message, everywhere=True)
        self._over.set()

    def alone(self) -> bool:
        """Whether this node is the whole job, as far as is known."""
        return self._links is not None and self._links.mesh.size == 1

    async def _take_down(self) -> None:
        await self.door.stop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        node = self._ready.result() if self._ready.done() and not self._failed() else None
        if self._upstream:
            await _within(self._upstream.finalize())
        if self._links:
            await _within(self._links.close_mesh())
        if node and node.server:
            await _within(node.server.stop())
        await _within(self.containers.stop())
        if not self._fatal:
            self.guard.done()

    def _failed(self) -> bool:
        return self._ready.cancelled() or self._ready.exception() is not None

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def say(self, text: str) -> None:
        """Lines for the user, on the standard error of the rank that started this agent."""
        self.guard.say(text)

    # The ticket office.

    async def ticket(self, hello: Hello, peer: Peer) -> Answer:
        rank = hello.rank
        options = self.options_of(hello)
        self._ranks[peer.pid] = rank
        self.table.started(rank, peer.pid)
        self.masks[rank] = CpuSet.from_bytes(hello.cpus)
        self.arrival.set()
        try:
            node = await asyncio.shield(self._ready)
            if rank not in node.layout.here.ranks:
                raise ShimError(
                    f"Rank {rank} does not belong to this node.",
                    "Let the launcher start each task once; do not change PMIX_RANK.",
                )
            bind = options is None or options.bind_cpus
            if bind:
                self._planned[rank] = node.placement.of(rank).cpus
            additions = node.additions(rank, hello.env, bind=bind)
            container = await self.containers.get(options) if options else None
            # Only from here on does it need the guard: a waiting front-end ends by itself.
            self.guard.rank(peer.pid)
            if container is None:
                return native_ticket(hello, additions.env, additions.cpus)
            return container.admit(hello, additions)
        except ShimError as error:
            return self._refusal(error)

    def _refusal(self, error: ShimError) -> Refuse:
        """The sentence goes to one rank of the node; the others end with the same code."""
        text = "" if self._spoken else str(error)
        self._spoken = True
        return Refuse(error.exit_code, text)

    def bound(self, peer: Peer, bound: Bound, host_pid: int) -> None:
        rank, node = self._ranks[peer.pid], self._ready.result()
        effective = CpuSet.from_bytes(bound.cpus)
        if self._report:
            self._report.bound(rank, node.placement, effective, (host_pid, bound.pid))
        elif self._planned.get(rank, effective) != effective:
            planned = self._planned[rank]
            self.say(
                f"shim: Rank {rank} was to run on CPUs {planned}; the kernel gave {effective}."
            )

    def started(self, peer: Peer) -> None:
        log.info("rank %d runs as pid %d", self._ranks[peer.pid], peer.pid)

    def exec_failed(self, peer: Peer, failure: ExecFailed) -> None:
        """The front-end has told the user, and its exit code is the launcher's business."""
        log.info("rank %d: %s", self._ranks[peer.pid], os.strerror(failure.errno))

    def gone(self, peer: Peer) -> None:
        self.guard.gone(peer.pid)
        rank = self._ranks.pop(peer.pid, None)
        if rank is None:
            return
        if self.table.state(rank) is RankState.CONNECTED:
            asyncio.get_running_loop().call_later(FINALIZE_LAG, self._rank_gone, rank)
        else:
            self._rank_gone(rank)

    # What the ranks' PMIx server reports.

    def _on_finalized(self, rank: int) -> None:
        self.table.finalized(rank)
        self._look_around()

    async def _on_abort(self, proc: Proc, status: int, message: str, procs: Sequence[Proc]) -> None:
        self.end_job(status, "", message)

    # What happens to ranks, nodes and the container.

    def _rank_gone(self, rank: int) -> None:
        if self.table.gone(rank) and not self._terminated:
            self.end_job(
                1,
                f"Rank {rank} ended between PMIx_Init and PMIx_Finalize, and the others would wait "
                "for it, so the job is ended. Its own output says why it ended.",
            )
        self._look_around()

    def _look_around(self) -> None:
        if self.table.settled:
            self._settle()
        if self.table.all_gone:
            self._over.set()
        elif not self.table.present and self._ready.done():
            asyncio.get_running_loop().call_later(LINGER, self._give_up_waiting)

    def _settle(self) -> None:
        """No rank here owes PMIx anything more: from now on our loss harms nobody."""
        if self._lifecycle and self._links:
            self._lifecycle.tell_all(PartEnded(self._links.nspace, self.code))
            self._lifecycle = None
            # In launcher mode one libpmix is both; its client cannot leave before its server.
            if self._upstream and self.settings.pmix_mode != "launcher":
                self.spawn(self._upstream.finalize())

    def _give_up_waiting(self) -> None:
        if not self.table.present:
            self._over.set()

    def _on_notice(self, node: int, notice: Notice) -> None:
        if isinstance(notice, PartEnded):
            self._ended_nodes.add(node)
        elif isinstance(notice, Abort):
            self.end_job(notice.status, "", notice.message, everywhere=False)

    def _on_node_lost(self, node: int, reason: str) -> None:
        if node in self._ended_nodes or self.table.settled or not self._links:
            return
        mesh = self._links.mesh
        speaks = mesh.index == min(set(range(mesh.size)) - mesh.gone)
        text = (
            f"The agent of node {mesh.names[node]} was lost ({reason}), so the job is ended. "
            "Look for the node's state with `sinfo -R`."
        )
        self.end_job(1, text if speaks else "")

    def _on_container_death(self, text: str) -> None:
        if not self._terminated:
            self.end_job(1, text + " Look at the node's memory and the image's file system.")

    def end_job(self, code: int, text: str, message: str = "", *, everywhere: bool = True) -> None:
        """End the job's ranks, once. *text* is for the user, *message* for the launcher."""
        if self._ending:
            return
        self._ending = True
        self.code = code & 0xFF or 1
        if text:
            self.say(f"shim: {text}")
        if everywhere and self._lifecycle and self._links:
            self._lifecycle.tell_all(Abort(self._links.nspace, 0, code, message or text))
        self.spawn(self.end_ranks(code, message or text, everywhere=everywhere))

    def terminate(self, number: int) -> None:
        """A signal to the agent. The launcher's come with the ranks' own; the guard's death comes
        as SIGTERM too (PR_SET_PDEATHSIG), and then nobody else will end the ranks."""
        self._terminated = True

    async def absence(self, patience: float) -> None:
        """Wait until no rank is here, at most *patience* seconds."""
        deadline = asyncio.get_running_loop().time() + patience
        while self.table.present and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            # An event would have to be kept in step with a table that is rarely waited for.
            await asyncio.sleep(0.02)

    def kill_ranks(self, number: int) -> None:
        for pid in tuple(self._ranks):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def native_ticket(hello: Hello, added: Mapping[str, str], cpus: bytes | None) -> Ticket:
    """For a rank outside any container: its own environment without the launcher's PMIx."""
    own = {name: value for name, value in hello.env.items() if not name.startswith("PMIX_")}
    own.pop("SHIM_FRONTEND", None)
    return Ticket(namespaces=(), env={**own, **added}, cwd=hello.cwd, home="/", cpus=cpus)


def _load_topology() -> Topology:
    try:
        return Topology.from_system()
    except CpusetsError as error:
        raise ShimError(error.message, error.hint) from error


async def _within(work: Coroutine[Any, Any, None]) -> None:
    """Give a part of the take-down its time; what hangs or fails must not stop the rest."""
    try:
        async with asyncio.timeout(TAKE_DOWN):
            await work
    except Exception:
        log.exception("part of the take-down failed")


async def terminate_softly(session: Session, grace: float) -> None:
    """SIGTERM to the ranks here, and SIGKILL to those that are left after *grace* seconds."""
    session.kill_ranks(signal.SIGTERM)
    await session.absence(grace)
    session.kill_ranks(signal.SIGKILL)
