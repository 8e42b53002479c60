"""`shim exec`: the launcher's tasks become the ranks, and the launcher ends them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cpusets import CpuSet, NodeRequest, Topology
from pmix_server import NodeRanks
from pmix_server.upstream import Mode
from shim.agent.context import Launcher
from shim.agent.links import Links, attend
from shim.agent.node import Node
from shim.agent.placement import (
    Placement,
    launcher_masks,
    node_request,
    plan_placement,
    widen_own_affinity,
)
from shim.agent.session import Session
from shim.errors import ShimError
from shim.layout import Layout, layout_of_step
from shim.mapper import presentable
from shim.options import ExecOptions, parse_exec
from shim.run.files import read_file, read_partitions
from shim.ticket import Hello

if TYPE_CHECKING:
    from cpusets.rankfile import RankLine

MASKS_SECONDS = 5.0
"""Ranks of a node are started together; what has not come by then does not come."""

LAUNCHERS_TURN = 1.0
"""Seconds that the launcher has to answer, and again to end the ranks, before we do."""


class ExecSession(Session):
    """One step of `srun … shim exec`, of `prterun … shim exec`, or a single `shim exec`."""

    @property
    def options(self) -> ExecOptions:
        assert self.settings.options is not None
        return self.settings.options

    def first_options(self) -> Sequence[ExecOptions]:
        masks = self.context.masks
        if masks:
            widen_own_affinity(_union(tuple(masks.values())))
        return (self.options,)

    def options_of(self, hello: Hello) -> ExecOptions:
        return parse_exec((*hello.options, *hello.command))

    def partition_of(self, hello: Hello) -> str | None:
        return self.options_of(hello).partition

    def upstream_mode(self) -> Mode:
        return "none" if self.options.no_pmix else self.settings.pmix_mode

    def wants_pmix(self) -> bool:
        return not self.options.no_pmix

    async def plan(self, links: Links, topology: Topology) -> tuple[Layout, Placement]:
        layout = self._layout(links)
        ranks = layout.here.ranks
        self.table.expect(ranks)
        if self.context.masks is None and not self.context.unbound:
            await self._await_masks(ranks)
        given = launcher_masks(self.context, self.office.masks)
        allowed = _union(tuple(given.values())) if given else CpuSet.of(os.sched_getaffinity(0))
        request = self._request(topology, allowed, layout, given)
        shares = self.options.mapping.partitions
        placement = plan_placement(
            topology,
            allowed,
            request,
            None if shares is None else read_partitions(shares, self.cwd),
            dict.fromkeys(ranks, self.options.partition),
        )
        widen_own_affinity(allowed)
        if self.context.launcher is Launcher.PMIX and self.settings.pmix_mode != "launcher":
            await self._satisfy_prrte(links, ranks)
        return layout, placement

    def _request(
        self,
        topology: Topology,
        allowed: CpuSet,
        layout: Layout,
        given: Mapping[int, CpuSet] | None,
    ) -> NodeRequest:
        """The user's axes divide anew what the launcher gave this node's ranks together; else
        its masks are kept. It has decided on the number of ranks, so any number is right."""
        words = self.options.mapping
        lines = self._rank_lines(layout) if words.rankfile else None
        request = node_request(topology, allowed, words, layout.here.ranks, lines)
        return replace(request, oversubscribe=True, given=None if words.redeals else given)

    def _rank_lines(self, layout: Layout) -> tuple[RankLine, ...]:
        from cpusets.rankfile import lines_by_node, parse_rankfile  # most steps have none

        text = read_file(self.options.mapping.rankfile or "", self.cwd)
        with presentable():
            lines = parse_rankfile(text)
            mine = lines_by_node(lines, [node.name for node in layout.nodes])[layout.local]
        if {line.rank for line in mine} != set(layout.here.ranks):
            raise ShimError(
                f"The launcher started ranks {layout.here.ranks} on {layout.here.name}, and the "
                f"rank file has {tuple(line.rank for line in mine)} there.",
                "Let `shim run` start the ranks: it puts them where the file says.",
            )
        return mine

    async def _satisfy_prrte(self, links: Links, ranks: tuple[int, ...]) -> None:
        """Let every rank have called PMIx_Init and PMIx_Finalize before its program can end.

        PRRTE takes the end of a rank for a failure if the rank has not finalized, or never called
        PMIx_Init although another did (its own message says so); the agent, in the name of one of
        them, did. Nothing more is asked of PRRTE later: a rank that fails ends its job anyway.
        """
        others = [rank for rank in ranks if rank != links.job.rank]
        await asyncio.gather(*(attend(rank, self.env) for rank in others))
        await self.uplink.retire()

    def _layout(self, links: Links) -> Layout:
        if self.options.no_pmix and self.context.local_ranks:
            return Layout((NodeRanks(self.context.node, self.context.local_ranks),), 0)
        return layout_of_step(links.job.nodes, links.job.rank)

    async def _await_masks(self, ranks: tuple[int, ...]) -> None:
        """Wait until every rank's front-end has told its mask; PRRTE tells it nowhere else.

        A rank that does not come, since its task calls something else, counts as unbound.
        """
        everything = CpuSet.of(os.sched_getaffinity(0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MASKS_SECONDS):
                while missing := [rank for rank in ranks if rank not in self.office.masks]:
                    self.door.progress(f"waiting for ranks {', '.join(map(str, missing[:8]))}")
                    self.office.arrival.clear()
                    await self.office.arrival.wait()
        for rank in ranks:
            self.office.masks.setdefault(rank, everything)

    async def launch(self, node: Node) -> None:
        """The ranks come by themselves."""

    async def end_ranks(self, code: int, text: str, *, everywhere: bool) -> None:
        """Ask the launcher, which ends all nodes' ranks and knows the exit code; what it leaves
        here is ended by us."""
        if everywhere:
            # A launcher that is cut off from its own other half does not answer.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAUNCHERS_TURN):
                    await self.uplink.abort(code, text)
        await self.signals.absence(LAUNCHERS_TURN)
        await self.signals.terminate(grace=1.0)


def _union(sets: tuple[CpuSet, ...]) -> CpuSet:
    return CpuSet.of(cpu for one in sets for cpu in one)
