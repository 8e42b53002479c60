"""`shim run`: the agents place the ranks, fork them and end them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import replace

from cpusets import CpuSet, Topology
from cpusets.dealing import capacity
from cpusets.rankfile import RankLine
from pmix_server import Proc
from pmix_server.mesh import MeshError
from shim.agent.capacities import gather_capacities
from shim.agent.links import Links
from shim.agent.node import Node
from shim.agent.outcome import from_return_code
from shim.agent.placement import Placement, node_request, plan_placement
from shim.agent.ranks import RankProcesses, frontend_program
from shim.agent.session import Session
from shim.errors import ShimError
from shim.layout import Layout, layout_of_run
from shim.mapper import presentable
from shim.options import ExecOptions
from shim.run.dealing import Numbers, deal_ranks, read_rankfile
from shim.run.spec import RunSpec
from shim.ticket import Hello

FAILURE_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for the ranks of a job that failed."""

SETTLE = 1.0
"""Seconds at most until all is heard that the ranks said before they ended."""


OTHERS_FIRST = 0.1
"""Seconds by which the other agents hear of the end before ranks here are ended."""


class RunSession(Session):
    """This node's part of one `shim run`."""

    _layout: Layout | None = None
    _processes: RankProcesses | None = None

    @property
    def spec(self) -> RunSpec:
        assert self.settings.spec is not None
        return self.settings.spec

    def first_options(self) -> Sequence[ExecOptions]:
        return tuple(app.exec_options for app in self.spec.apps if not app.native)

    def options_of(self, hello: Hello) -> ExecOptions | None:
        assert self._layout is not None
        app = self._layout.app(hello.rank)
        return None if app.native else app.exec_options

    def partition_of(self, hello: Hello) -> str | None:
        assert self._layout is not None
        return self._layout.app(hello.rank).partition

    async def plan(self, links: Links, topology: Topology) -> tuple[Layout, Placement]:
        allowed = CpuSet.of(os.sched_getaffinity(0))
        lines: Sequence[RankLine] | None = None
        names, here = links.mesh.names, links.mesh.index
        if self.spec.rankfile is not None:
            by_node = read_rankfile(self.spec, names)
            lines = by_node[here]
            numbers = tuple(tuple(line.rank for line in node) for node in by_node)
        else:
            numbers = await self._deal(links, topology, allowed)
        layout = self._layout = layout_of_run(self.spec, names, numbers, here)
        ranks = layout.here.ranks
        request = node_request(topology, allowed, self.spec.mapping, ranks, lines)
        homes = {rank: layout.app(rank).partition for rank in ranks}
        placement = plan_placement(topology, allowed, request, self.spec.partitions, homes)
        return layout, placement

    async def _deal(self, links: Links, topology: Topology, allowed: CpuSet) -> Numbers:
        words = replace(self.spec.mapping, cpu_bind=None)  # has an entry for each rank dealt
        request = node_request(topology, allowed, words)
        try:
            with presentable():
                mine = capacity(topology, allowed, request)
            known = await gather_capacities(links.mesh, mine, self.settings.start_timeout)
        except (MeshError, TimeoutError) as error:
            raise ShimError(
                "The nodes could not agree on where the ranks go.",
                "Look for a lost node in the messages above and run again.",
                transient=True,
            ) from error
        return deal_ranks(self.spec, links.mesh.names, known, request)

    async def launch(self, node: Node) -> None:
        if not node.layout.here.ranks:
            self.ending.part_ended()
            self.finish()
            return
        self._processes = RankProcesses(node.layout, frontend_program(), self.env, self.door.adopt)
        await self._processes.start()
        worst = await self._processes.wait(self._on_end)
        await self.door.settle(SETTLE)
        await self.ending.verdicts()
        if not self.ending.begun:
            self.ending.code = worst
        self.ending.part_ended()
        self.finish()

    def look_around(self) -> None:
        """The ranks are our children, so `launch` knows when the last has ended; the launcher's
        task is this agent, which has no other program to run after them."""
        if self.table.settled:
            self.ending.part_ended()

    def _on_end(self, rank: int, code: int) -> None:
        """As mpirun does: a rank that fails ends the job, since the others would wait for it."""
        if code != 0 and not self.ending.cancelled:
            self.ending.rank_died(rank, from_return_code(code), owed=False)

    async def end_ranks(self, code: int, text: str, *, everywhere: bool) -> None:
        """Every agent ends its own; the others were told by `Ending`."""
        if everywhere:
            # Peers of a rank that ends abort with a code of their own; theirs is not to be first.
            await asyncio.sleep(OTHERS_FIRST)
        await self.signals.terminate(FAILURE_GRACE)

    async def on_abort(self, proc: Proc, status: int, message: str, procs: Sequence[Proc]) -> None:
        """Not answered before the ranks are ended: the caller would exit, and be seen to."""
        await super().on_abort(proc, status, message, procs)
        await asyncio.sleep(OTHERS_FIRST + FAILURE_GRACE)

    def terminate(self, number: int) -> None:
        """The launcher signals the agent alone: its ranks get what srun would have sent them."""
        super().terminate(number)
        if self._processes:
            self._processes.signal(number)
        elif number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            self.ending.code = 128 + number
            self.finish()
