"""The report of bindings: every node's ranks, plan against kernel, gathered on the first node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cpusets import CpuSet, RankReport, judge, render_table, to_json
from pmix_server.mesh import Body, Mesh
from shim.agent.placement import Placement
from shim.errors import ShimError

KIND = "bindings"


@dataclass(frozen=True)
class _Bound:
    """What a rank told of itself, and the plan that it is held against."""

    placement: Placement
    effective: CpuSet
    pids: tuple[int, int]
    limits: Mapping[str, CpuSet]
    memory: str


class BindingReport:
    """Collects the local reports; the node with index 0 collects everybody's and prints.

    Args:
        expected: ranks of this node.
        target: "" for text through *say*, else the file that gets JSON.
        say: prints lines for the user.
    """

    def __init__(
        self,
        mesh: Mesh,
        node: str,
        expected: tuple[int, ...],
        target: str,
        say: Callable[[str], None],
    ) -> None:
        self._mesh = mesh
        self._node = node
        self._expected = expected
        self._target = target
        self._say = say
        self._local: dict[int, _Bound] = {}
        self._nodes: dict[int, list[RankReport]] = {}
        self._published = asyncio.Event()
        if mesh.index == 0:
            mesh.subscribe(KIND, self._on_node)
            mesh.on_lost(lambda _node, _reason: self._publish_if_complete())
        if not expected:
            self._send([])

    async def wait(self, patience: float) -> None:
        """Ranks may end before those of other nodes begin: give these *patience* seconds.

        Only the first node collects, so only it waits; and only if its own ranks have started.
        """
        if 0 in self._nodes:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._published.wait(), patience)

    def bound(
        self,
        rank: int,
        placement: Placement,
        effective: CpuSet,
        pids: tuple[int, int],
        limits: Mapping[str, CpuSet],
    ) -> None:
        """A rank of this node has read back its mask; *pids* on the host and in the container.

        *limits* are the masks that may have narrowed its own, by name.
        """
        from shim.affinity.live import memory_policy  # only where a report is wanted

        memory = memory_policy(pids[0]) or str(placement.of(rank).memory)
        self._local[rank] = _Bound(placement, effective, pids, limits, memory)
        if len(self._local) == len(self._expected):
            self._send([_pack(self._judged(one)) for one in sorted(self._local)])

    def _judged(self, rank: int) -> RankReport:
        bound = self._local[rank]
        plan = bound.placement.of(rank)
        from shim.affinity.live import numa_nodes

        topology = bound.placement.topology
        verdict = judge(
            plan.cpus,
            bound.effective,
            threads=plan.threads,
            topology=topology,
            others={other: one.effective for other, one in self._local.items() if other != rank},
            limits=bound.limits,
            gpus=plan.gpus,
        )
        return RankReport(
            rank=rank,
            node=self._node,
            host_pid=bound.pids[0],
            container_pid=bound.pids[1],
            planned=plan.cpus,
            effective=bound.effective,
            threads=plan.threads,
            verdict=str(verdict),
            narrowed_by=verdict.narrowed_by,
            numa=numa_nodes(topology, bound.effective),
            gpus=tuple(gpu.pci or gpu.name for gpu in plan.gpus),
            memory=bound.memory,
        )

    def _send(self, mine: list[Body]) -> None:
        if self._mesh.index == 0:
            self._on_node(0, mine)
        else:
            self._mesh.post([0], KIND, mine)

    def _on_node(self, node: int, body: Body) -> None:
        self._nodes[node] = [_unpack(fields) for fields in body]
        self._publish_if_complete()

    def _publish_if_complete(self) -> None:
        missing = set(range(self._mesh.size)) - set(self._nodes) - self._mesh.gone
        if not missing and not self._published.is_set():
            reports = sorted(
                (report for part in self._nodes.values() for report in part),
                key=lambda report: report.rank,
            )
            self._publish(reports)

    def _publish(self, reports: list[RankReport]) -> None:
        self._published.set()
        if not self._target:
            self._say(render_table(reports))
            return
        try:
            Path(self._target).write_text(to_json(reports) + "\n")
        except OSError as error:
            self._say(f"shim: The report of bindings cannot be written: {error}.")


def _pack(report: RankReport) -> Body:
    fields = asdict(report)
    return {**fields, "planned": str(report.planned), "effective": str(report.effective)}


def _unpack(fields: Body) -> RankReport:
    sets = {name: CpuSet.parse(fields[name]) for name in ("planned", "effective")}
    return RankReport(**{**fields, **sets, "gpus": tuple(fields["gpus"])})


def report_path(target: str, cwd: str) -> str:
    """The report's file as the user named it, from the working directory of the first rank.

    Raises:
        ShimError: its directory does not exist.
    """
    if not target:
        return ""
    path = Path(cwd, target)
    if not path.parent.is_dir():
        raise ShimError(
            f"The report of bindings cannot be written to {path}: {path.parent} does not exist.",
            "Give --report-bindings a file in a directory that exists.",
        )
    return str(path)
