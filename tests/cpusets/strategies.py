"""Random machines, cpusets and requests for the invariants of docs/mapping.md."""

from __future__ import annotations

import os
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st

from cpusets import CpuSet, NodeRequest, Topology
from cpusets.axes import OBJECTS, MapBy, RankBy

CASES = int(os.environ.get("MAPPING_CASES", "800"))
"""Cases per invariant: with 14 tests that use it, 11,200 in a full run."""

many = settings(max_examples=CASES, deadline=None)

MACHINES = Path(__file__).parents[3] / "shared" / "topologies"
"""Real machines, beside the repository where somebody has put them."""


def real_machines() -> list[Path]:
    """The hwloc 1 and 2 descriptions among them."""
    return [path for path in sorted(MACHINES.glob("*/*.xml")) if not path.name.endswith(".v3.xml")]


@lru_cache(maxsize=512)
def machine(synthetic: str) -> Topology:
    """A synthetic machine; remembered, since loading costs more than planning."""
    return Topology.from_synthetic(synthetic)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Up to 256 PUs, with any of the levels that machines have, numbered in three ways."""
    levels = [f"pack:{draw(st.integers(1, 3))}"]
    for name, most in (("numa", 3), ("l3", 3), ("l2", 2)):
        if draw(st.booleans()):
            levels.append(f"{name}:{draw(st.integers(1, most))}")
    levels.append(f"core:{draw(st.integers(1, 4))}")
    numbering = draw(st.sampled_from(["", "(indexes=pu:core)", "(indexes=core:pack)"]))
    levels.append(f"pu:{draw(st.integers(1, 2))}{numbering}")
    return machine(" ".join(levels))


@st.composite
def nodes(draw: st.DrawFn) -> tuple[Topology, CpuSet]:
    """A machine and a non-empty part of it that is allowed, often all."""
    topology = draw(topologies())
    everything = list(topology.complete)
    if draw(st.booleans()):
        return topology, topology.complete
    part = draw(st.sets(st.sampled_from(everything), min_size=1))
    return topology, CpuSet.of(part)


def counts() -> st.SearchStrategy[int]:
    """Ranks on a node."""
    return st.integers(1, 40)


def maybe(strategy: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    """A number, or nothing said."""
    return st.none() | strategy


@st.composite
def map_bys(draw: st.DrawFn) -> MapBy:
    """Every way to map but `dist`, which needs a device."""
    kind = draw(st.sampled_from(["slot", "node", "ppr", *OBJECTS]))
    if kind != "ppr":
        return MapBy(kind)
    over = draw(st.sampled_from(["node", *OBJECTS]))
    return MapBy("ppr", per=draw(st.integers(1, 4)), over=over)


@st.composite
def requests(draw: st.DrawFn) -> NodeRequest:
    """Requests of all kinds, sensible and not."""
    return NodeRequest(
        ranks=tuple(range(draw(counts()))),
        threads=draw(maybe(st.integers(1, 12))),
        oversubscribe=draw(st.booleans()),
        map_by=draw(st.none() | map_bys()),
        rank_by=draw(st.none() | st.sampled_from(RankBy)),
        bind_to=draw(st.sampled_from([None, "none", *OBJECTS])),
        cpus_per_rank=draw(maybe(st.integers(1, 5))),
        smt=draw(maybe(st.integers(1, 2))),
        reserve=CpuSet.of(draw(st.sets(st.integers(0, 20), max_size=3))),
        gpus_per_rank=draw(st.sampled_from([Fraction(n) for n in (0, 0, 0, 1, 1 / 2)])),
        memory=draw(st.sampled_from(["none", "local", "bind", "preferred", "interleave"])),
    )
