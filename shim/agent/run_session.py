"""`shim run`: the agents place the ranks, fork them and end them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cpusets import CpuSet, Topology
from pmix_server.mesh import MeshError
from shim.agent.links import Links
from shim.agent.node import Node
from shim.agent.placement import Placement, plan_placement
from shim.agent.ranks import RankProcesses, frontend_program, shell_code
from shim.agent.session import Session
from shim.agent.slots import gather_slots
from shim.errors import ShimError
from shim.layout import Layout, layout_of_run
from shim.options import ExecOptions
from shim.run.distribute import NodeSlots
from shim.run.spec import RunSpec
from shim.ticket import Hello


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
        # What does not fit does not fit on every node alike: one of them says it.
        self._spoken = links.mesh.index != 0
        layout = layout_of_run(self.spec, nodes, links.mesh.index)
        self._spoken = False
        return layout

    async def launch(self, node: Node) -> None:
        if not node.layout.here.ranks:
            self._settle()
            self._over.set()
            return
        self._processes = RankProcesses(node.layout, frontend_program(), self.env, self.door.adopt)
        await self._processes.start()
        self.code = max(await self._processes.wait(self._on_end), self.code)

    def _on_end(self, rank: int, code: int) -> None:
        """As mpirun does: a rank that fails ends the job, since the others would wait for it."""
        if code == 0 or self._terminated:
            return
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        self.end_job(shell_code(code), f"Rank {rank} ended {how}, so the job is ended.")

    async def end_ranks(self, code: int, text: str, *, everywhere: bool) -> None:
        """Every agent ends its own; the others were told by `end_job`."""
        if self._processes:
            self._processes.abort(code)

    def terminate(self, number: int) -> None:
        """The launcher signals the agent alone: its ranks get what srun would have sent them."""
        super().terminate(number)
        if self._processes:
            self._processes.signal(number)
        else:
            self.code = 128 + number
            self._over.set()
