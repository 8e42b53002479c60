"""The environment that makes OpenMP runtimes follow a placement.

OMP_NUM_THREADS, OMP_PLACES and OMP_PROC_BIND are standard and honoured by libgomp, libomp and
Intel's runtime alike. MKL, OpenBLAS and NumExpr take OMP_NUM_THREADS where their own variable
is not set, so nothing of theirs is set here.
"""

from __future__ import annotations

from collections.abc import Mapping

from cpusets.cpuset import CpuSet
from cpusets.plan import RankPlacement

# With one of these the user steers the binding; the standard variables would override
# GOMP_CPU_AFFINITY in libgomp, and mixing them with KMP_AFFINITY is undefined.
_OWN_BINDING = ("OMP_PLACES", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
_THREAD_COUNTS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip


def openmp_environment(placement: RankPlacement, existing: Mapping[str, str]) -> dict[str, str]:
    """The variables to add to `existing` for a rank. What the user set is never replaced.

    Threads of a rank that is bound to nothing are not bound either.
    """
    added = {}
    if not existing.get("OMP_NUM_THREADS"):
        added["OMP_NUM_THREADS"] = str(placement.threads)
    if placement.places and not any(existing.get(name) for name in _OWN_BINDING):
        added["OMP_PLACES"] = format_places(placement.places)
        # One place per thread: the team fills them in order, and stays.
        added["OMP_PROC_BIND"] = "close"
    return added


def openmp_conflicts(placement: RankPlacement, existing: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences about variables of the user's that do not fit the placement."""
    return tuple(
        f"{name}={existing[name]} asks for {count} threads, but rank {placement.rank} has "
        f"{len(placement.cpus)} CPUs ({placement.cpus})."
        for name in _THREAD_COUNTS
        if (count := planned_threads(existing.get(name, ""))) > len(placement.cpus)
    )


def format_places(places: tuple[CpuSet, ...]) -> str:
    """OMP_PLACES as explicit sets of OS indices: `{0:2,8},{1}` (OpenMP 5.2, 21.1.6)."""
    return ",".join("{" + ",".join(_interval(*r) for r in place.ranges()) + "}" for place in places)


def _interval(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}:{last - first + 1}"


def planned_threads(text: str) -> int:
    """The total of a nested thread-count list such as `4,2`; 0 where it is not one."""
    try:
        levels = [int(level) for level in text.split(",")]
    except ValueError:
        return 0
    total = 1
    for level in levels:
        total *= level
    return total
