"""What is asked of the mapper, for one node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from cpusets.axes import OBJECTS, MapBy, RankBy
from cpusets.cpuset import EMPTY, CpuSet
from cpusets.errors import PlanError


@dataclass(frozen=True)
class NodeRequest:
    """The ranks that run on one node, and how they want to sit there.

    The first group says who decides. `ranks` are numbers in the job, in the order in which they
    are to be placed. `given` are the masks that the launcher bound its tasks to, by rank; None
    if it bound nothing, so that the node's CPUs are ours to share out. `explicit` are masks that
    the user wrote; they win over `given`.

    `threads` per rank; None = one per core of the rank's share, or one per CPU of a given mask.
    `oversubscribe` allows more ranks than CPUs. It is True here because a launcher that starts
    more tasks than CPUs was asked to do so; a mapper's command line asks its own user.

    The axes: `map_by` (None = auto), `rank_by` (None = fill where ranks are dealt over objects,
    else slot), `bind_to` (None = the rank's share), and `cpus_per_rank`, counted in cores, or in
    hardware threads if mapped by or bound to those.
    `smt` is how many hardware threads of a core may be used (None = all in the mask, one
    computing thread per core). `reserve` are CPUs kept free of ranks.

    `gpus_per_rank` is 0, a whole number, or 1/k where k ranks share a GPU. `memory` is `none`,
    `local`, `bind`, `preferred` or `interleave`.
    """

    ranks: tuple[int, ...]
    given: Mapping[int, CpuSet] | None = None
    threads: int | None = None
    oversubscribe: bool = True
    explicit: Mapping[int, CpuSet] | None = None
    map_by: MapBy | None = None
    rank_by: RankBy | None = None
    bind_to: str | None = None
    cpus_per_rank: int | None = None
    smt: int | None = None
    reserve: CpuSet = EMPTY
    gpus_per_rank: Fraction | int = 0
    memory: str = "none"

    @property
    def order(self) -> RankBy:
        """The order of ranks; PRRTE has the same default."""
        if self.rank_by is not None:
            return self.rank_by
        dealt = self.map_by is not None and self.map_by.kind in OBJECTS
        return RankBy.FILL if dealt else RankBy.SLOT

    @property
    def unit(self) -> str:
        """What `cpus_per_rank` counts: `pu` or `core`."""
        by_thread = self.bind_to == "hwthread" or (
            self.map_by is not None and self.map_by.level == "hwthread"
        )
        return "pu" if by_thread else "core"


def check(request: NodeRequest) -> None:
    """Refuse numbers and combinations that mean nothing. Raises PlanError."""
    if len(set(request.ranks)) != len(request.ranks):
        raise PlanError("A rank appears twice in the request.", "Name every rank once.")
    for number, name in (
        (request.threads, "threads per rank"),
        (request.cpus_per_rank, "CPUs per rank"),
        (request.smt, "hardware threads per core"),
    ):
        if number is not None and number < 1:
            raise PlanError(f"{number} {name} is impossible.", "Ask for at least 1.")
    _check_gpus(Fraction(request.gpus_per_rank))
    if request.bind_to == "none" and request.cpus_per_rank is not None:
        raise PlanError(
            f"{request.cpus_per_rank} CPUs per rank contradicts binding to none.",
            "Leave one of the two out.",
        )
    if request.explicit is not None and (request.map_by or request.cpus_per_rank):
        raise PlanError(
            "An explicit list of CPUs contradicts --map-by and --cpus-per-rank.",
            "Leave one of the two out.",
        )


def _check_gpus(gpus: Fraction) -> None:
    if gpus < 0 or (gpus.numerator != 1 and gpus.denominator != 1):
        raise PlanError(
            f"{gpus} GPUs per rank is impossible.",
            "Ask for a whole number, or for 1/2, 1/3 … where ranks share a GPU.",
        )
