"""Which rank sits on which node and runs which program (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pmix_server import NodeRanks
from shim.run.spec import App, RunSpec


@dataclass(frozen=True)
class Layout:
    """The ranks of the job over its nodes."""

    nodes: tuple[NodeRanks, ...]
    local: int
    """Index of this node."""
    apps: tuple[App, ...] = ()
    """The programs of `shim run`; under `shim exec` each rank brings its own."""
    app_of: tuple[int, ...] = ()
    """Index into *apps* by rank."""

    @property
    def here(self) -> NodeRanks:
        return self.nodes[self.local]

    @property
    def size(self) -> int:
        return sum(len(node.ranks) for node in self.nodes)

    def app(self, rank: int) -> App:
        return self.apps[self.app_of[rank]]


def layout_of_step(nodes: Sequence[NodeRanks], rank: int) -> Layout:
    """`shim exec`: the step's ranks are the job's; *rank* is one of this node."""
    local = next(at for at, node in enumerate(nodes) if rank in node.ranks)
    return Layout(tuple(nodes), local)


def layout_of_run(
    spec: RunSpec, names: Sequence[str], numbers: Sequence[tuple[int, ...]], local: int
) -> Layout:
    """`shim run`: the ranks of all programs, in the order of the command line.

    Args:
        numbers: the rank numbers of each node.
    """
    total = sum(map(len, numbers))
    return Layout(
        nodes=tuple(NodeRanks(*node) for node in zip(names, numbers, strict=True)),
        local=local,
        apps=spec.apps,
        app_of=tuple(at for at, app in enumerate(spec.apps) for _ in range(app.ranks or total)),
    )
