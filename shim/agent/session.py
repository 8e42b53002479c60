"""One step on one node: bring up, let the ranks in, watch them, take down.

What is decided with is pure and elsewhere: context, layout, placement, the rank table. The ranks'
tickets are the `Office`'s, the end before its time is the `Ending`'s. `ExecSession` and
`RunSession` differ in where ranks come from and in who ends them.
"""

from __future__ import annotations

import abc
import asyncio
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cpusets import CpuSet, Topology
from pmix_server import Proc
from pmix_server.collectives import Collectives
from pmix_server.upstream import Mode
from shim.agent import shared_memory
from shim.agent.bindings import BindingReport, report_path
from shim.agent.cleanup import remove_step
from shim.agent.containers import Containers
from shim.agent.context import read_context
from shim.agent.ending import Ending
from shim.agent.guard import GuardPipe
from shim.agent.host import AgentHost
from shim.agent.life import RankTable
from shim.agent.links import Links, open_links
from shim.agent.node import Node, container_ids, job_spec, register_job, start_server
from shim.agent.office import Office
from shim.agent.placement import Placement, load_topology
from shim.agent.rank_signals import RankSignals
from shim.agent.settings import Settings
from shim.agent.uplink import Uplink
from shim.agent.voice import Voice
from shim.container.spawn import Spawned
from shim.errors import ShimError
from shim.frontdoor import FrontDoor
from shim.layout import Layout
from shim.options import ExecOptions
from shim.ticket import Hello

if TYPE_CHECKING:
    from cpusets.cgroups import CpusetGroup
    from shim.agent.shares import Shares

log = logging.getLogger(__name__)

LINGER = 10.0
"""Seconds to wait for ranks that have not come yet when no other is left."""

TAKE_DOWN = 5.0
"""Seconds for each part of the take-down; a hung file system must not hold the step."""


class Session(abc.ABC):
    """The common part."""

    def __init__(
        self, settings: Settings, env: Mapping[str, str], head_start: Spawned | None
    ) -> None:
        self.settings = settings
        self.env = dict(env)
        self.cwd = env.get("PWD") or os.getcwd()
        self.context = read_context(env)
        self.guard = GuardPipe(settings.guard_fd, settings.voice_fd)
        self.guard_pid = os.getppid()
        self.voice = Voice(self.guard.say)
        self.table = RankTable()
        self.signals = RankSignals(self.table)
        self.containers = Containers(
            self.env,
            self.cwd,
            settings.run_dir,
            settings.key,
            self.guard,
            self._on_container_death,
            head_start,
        )
        self.office = Office(
            self, self.table, self.containers, self.guard, self.voice, self.look_around
        )
        self.door = FrontDoor(self.office, socket.socket(fileno=settings.listen_fd))
        self.uplink = Uplink(self.upstream_mode(), self.env)
        self.ending = Ending(self.table, self.voice, self.end_ranks, self.spawn, self.look_around)
        self.links: Links | None = None
        self._groups: dict[str, CpusetGroup] = {}
        self._over = asyncio.Event()
        self._fatal = False
        self._tasks: set[asyncio.Task[None]] = set()

    # What the two kinds of session do differently.

    @abc.abstractmethod
    async def plan(self, links: Links, topology: Topology) -> tuple[Layout, Placement]:
        """Which ranks are here and on which CPUs."""

    @abc.abstractmethod
    def options_of(self, hello: Hello) -> ExecOptions | None:
        """The options of the container that a rank wants; None: it is native."""

    @abc.abstractmethod
    def partition_of(self, hello: Hello) -> str | None:
        """The partition that a process asks for."""

    @abc.abstractmethod
    def first_options(self) -> Sequence[ExecOptions]:
        """Containers that will be wanted for sure, to be started at once."""

    @abc.abstractmethod
    async def launch(self, node: Node) -> None:
        """Called when the node is ready."""

    @abc.abstractmethod
    async def end_ranks(self, code: int, text: str, *, everywhere: bool) -> None:
        """End the ranks here, and through the launcher those of other nodes if *everywhere*."""

    def upstream_mode(self) -> Mode:
        return self.settings.pmix_mode

    def wants_pmix(self) -> bool:
        return True

    # The life of the session.

    async def run(self) -> int:
        """Serve until the last rank of this node is gone; returns the agent's exit code."""
        self.door.start()
        work = self.spawn(self._bring_up())
        await self._over.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        if not self.ending.begun:
            self.guard.quiet()
        await self._take_down()
        return self.ending.code

    def finish(self) -> None:
        """Nothing is left to serve: `run` takes down and returns."""
        self._over.set()

    async def _bring_up(self) -> None:
        try:
            node = await self._prepare()
            self.office.open(node)
            # Not before: the ranks wait for nothing of it.
            self.spawn(self.uplink.retire())
            await self.launch(node)
        except ShimError as error:
            await self._give_up(error)
        except Exception as error:
            log.exception("bringing up failed")
            text = "The agent met an error that it does not know."
            await self._give_up(ShimError(text, f"Report it, with {type(error).__name__}: {error}"))

    async def _prepare(self) -> Node:
        self.door.progress("connecting to the launcher and to the other nodes")
        started = [self.containers.start(options) for options in self.first_options()]
        topology, job = await asyncio.gather(
            asyncio.to_thread(load_topology, devices=self.settings.wants_devices),
            self.uplink.connect(),
        )
        if self.context.has_pmix and self.upstream_mode() != "none":
            self.guard.upstream()
        log.info("connected upstream as rank %d of %s", job.rank, job.nspace)
        links = self.links = await open_links(
            self.uplink.upstream, job, self.settings.start_timeout, self.door.progress
        )
        log.info("node %d of %d", links.mesh.index, links.mesh.size)
        self.voice.attach(links.mesh)
        self.ending.attach(links)
        layout, placement = await self.plan(links, topology)
        self.table.expect(layout.here.ranks)
        self._start_report(links, layout)
        server = None
        if self.wants_pmix():
            ids = container_ids(any(options.has("fakeroot") for options in self.first_options()))
            spec = job_spec(links, layout, placement, self.context, self.env, ids)
            server = await start_server(
                self._host,
                links,
                spec,
                self.settings.run_dir / "pmix",
                self.table.processes,
            )
            log.info("the PMIx server listens")
        self.door.progress("starting the container")
        containers = await asyncio.gather(*(asyncio.shield(task) for task in started))
        for text in filter(None, (container.report for container in containers)):
            await self.voice.say_once(f"shim: {text}")
        if server:
            await register_job(server, spec, self.settings.run_dir, containers)
        memory = shared_memory.make_directory(self.settings.key) if server else None
        return Node(layout, placement, server, memory, self._shares(placement))

    def _shares(self, placement: Placement) -> Shares | None:
        declared = placement.declared
        if declared is None:
            return None
        from shim.agent.share_groups import make_groups  # most steps have no partitions
        from shim.agent.shares import Shares

        self._groups = make_groups(declared.table, self.settings.key)
        return Shares(placement.topology, declared, placement.plan, self._groups)

    def _start_report(self, links: Links, layout: Layout) -> None:
        target = self.settings.report_to
        if target is not None:
            path = report_path(target, self.cwd) if links.mesh.index == 0 else ""
            self.office.report = BindingReport(
                links.mesh, layout.here.name, layout.here.ranks, path, self.voice.say
            )

    def _host(self, collectives: Collectives) -> AgentHost:
        return AgentHost(collectives, self.table.connected, self._on_finalized, self.on_abort)

    async def _give_up(self, error: ShimError) -> None:
        """Nothing can run: tell one waiting rank, or through the guard, and end the step."""
        self.office.refuse_all(error)

        def say(text: str) -> None:
            self._fatal = True
            self.guard.fatal(error.exit_code, text)

        await self.ending.give_up(error, self.signals.absence(2.0), say)
        self.finish()

    async def _take_down(self) -> None:
        if self.office.report and not (self.ending.begun or self.ending.cancelled):
            await self.office.report.wait(self.settings.start_timeout)
        await self.door.stop()
        self.office.tasks.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        node = self.office.node
        parts = [self.containers.stop(), self.uplink.finalize()]
        if self.links:
            parts.append(self.links.close_mesh())
        if node and node.server:
            parts.append(node.server.stop())
        await asyncio.gather(*map(_within, parts))
        if self._groups:
            from shim.agent.share_groups import remove_groups

            remove_groups(self._groups)
        log.info("everything is taken down")
        if not self._fatal and not self.guard.done():
            remove_step(self.settings.run_dir, self.settings.key)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # What happens to ranks and the container.

    def _on_finalized(self, rank: int) -> None:
        self.table.finalized(rank)
        self.look_around()

    async def on_abort(self, proc: Proc, status: int, message: str, procs: Sequence[Proc]) -> None:
        log.info("rank %d asks for the end of the job, status %d", proc.rank, status)
        self.ending.end(status, "", message)

    @property
    def redeals(self) -> bool:
        return self.settings.mapping.redeals

    def launchers_mask(self, rank: int) -> CpuSet | None:
        return (self.context.masks or {}).get(rank)

    def rank_gone(self, rank: int, owed: bool, status: int | None) -> None:
        log.info("rank %d is gone, wait status %s%s", rank, status, ", owing" if owed else "")
        if owed:
            self.ending.rank_died(rank, status, owed=True)
        self.look_around()

    def look_around(self) -> None:
        """What follows from what ranks and tasks are left."""
        tasks = self.office.tasks
        if tasks.living(self.table.pids):
            return  # the next `shim exec` of a task may come
        if self.ending.pending:
            return
        nobody = not self.table.present and tasks.complete
        if self.table.settled or nobody:
            self.ending.part_ended()
        if self.table.all_gone or nobody:
            self.finish()
        elif not self.table.present and self.office.node:
            asyncio.get_running_loop().call_later(LINGER, self._give_up_waiting)

    def _give_up_waiting(self) -> None:
        if not self.table.present and not self.office.tasks.living(()):
            self.finish()

    def _on_container_death(self, text: str) -> None:
        if not self.ending.cancelled:
            self.ending.end(1, text + " Look at the node's memory and the image's file system.")

    def terminate(self, number: int) -> None:
        """A signal to the agent. The launcher's come with the ranks' own; the guard's death comes
        as SIGTERM too (PR_SET_PDEATHSIG), and then nobody else will end the ranks."""
        log.info("signal %d", number)
        if os.getppid() != self.guard_pid:
            self.ending.end(1, "The guard of this node was killed, so the job is ended.")
        elif number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            self.ending.cancelled = True


async def _within(work: Coroutine[Any, Any, None]) -> None:
    """Give a part of the take-down its time; what hangs or fails must not stop the rest."""
    try:
        async with asyncio.timeout(TAKE_DOWN):
            await work
    except Exception:
        log.exception("part of the take-down failed")
