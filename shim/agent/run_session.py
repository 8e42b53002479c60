"""`shim run`: the agents place the ranks, fork them and end them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from cpusets import CpuSet, Topology
from pmix_server.mesh import MeshError
from shim.agent.links import Links
from shim.agent.node import Node
from shim.agent.outcome import from_return_code
from shim.agent.placement import Placement, plan_placement
from shim.agent.ranks import RankProcesses, frontend_program
from shim.agent.session import Session
from shim.agent.slots import gather_slots
from shim.errors import ShimError
from shim.layout import Layout, layout_of_run
from shim.options import ExecOptions
from shim.run.distribute import NodeSlots
from shim.run.spec import RunSpec
from shim.ticket import Hello

FAILURE_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for the ranks of a job that failed."""


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

    async def plan(self, links: Links, topology: Topology) -> tuple[Layout, Placement]:
        allowed = CpuSet.of(os.sched_getaffinity(0))
        slots = max(1, len(allowed) // (self.spec.threads or 1))
        layout = self._layout = await self._deal(links, slots)
        placement = plan_placement(topology, allowed, layout.here.ranks, None, self.spec.threads)
        return layout, placement

    async def _deal(self, links: Links, slots: int) -> Layout:
        try:
            known = await gather_slots(links.mesh, slots, self.settings.start_timeout)
        except (MeshError, TimeoutError) as error:
            raise ShimError(
                "The nodes could not agree on where the ranks go.",
                "Look for a lost node in the messages above and run again.",
                transient=True,
            ) from error
        nodes = [NodeSlots(name, n) for name, n in zip(links.mesh.names, known, strict=True)]
        return layout_of_run(self.spec, nodes, links.mesh.index)

    async def launch(self, node: Node) -> None:
        if not node.layout.here.ranks:
            self.ending.part_ended()
            self.finish()
            return
        self._processes = RankProcesses(node.layout, frontend_program(), self.env, self.door.adopt)
        await self._processes.start()
        worst = await self._processes.wait(self._on_end)
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
        await self.signals.terminate(FAILURE_GRACE)

    def terminate(self, number: int) -> None:
        """The launcher signals the agent alone: its ranks get what srun would have sent them."""
        super().terminate(number)
        if self._processes:
            self._processes.signal(number)
        elif number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            self.ending.code = 128 + number
            self.finish()
