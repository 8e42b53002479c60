"""Which CPUs each thread gets when those of its rank change, and giving them to running threads."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from cpusets.binding import get_affinity, set_affinity, threads_of
from cpusets.cpuset import CpuSet, union
from cpusets.errors import BindingError
from cpusets.plan import RankPlacement

Seats = MutableMapping[int, int | None]
"""Thread id → number of its place, None for one that floats. Noted once, so that it outlives
changes: two threads that had to share one CPU for a while can be told apart again."""


def seat_of(mask: CpuSet, placement: RankPlacement) -> int | None:
    """The place that a thread with this mask was bound to; None for one that floats over the
    rank's CPUs, as a library's helper threads do."""
    if len(placement.places) < 2:
        return None
    return next((at for at, place in enumerate(placement.places) if mask <= place), None)


def seat_cpus(seat: int | None, placement: RankPlacement) -> CpuSet:
    """The CPUs of that place in another placement, which may have fewer of them."""
    if seat is None or not placement.places:
        return placement.cpus
    return placement.places[seat % len(placement.places)]


def note_seats(pid: int, placement: RankPlacement, seats: Seats) -> None:
    """See where the threads of a process sit, before a control group moves them."""
    for tid in threads_of(pid):
        if tid not in seats:
            with suppress(BindingError):  # it has ended
                seats[tid] = seat_of(get_affinity(tid), placement)


def move_process(pid: int, old: RankPlacement, new: RankPlacement, seats: Seats) -> CpuSet:
    """Move all threads of a process to where `new` has them; returns the CPUs that they may use
    now, read back. A process that has ended uses none.

    The walk is repeated until it finds nobody new, since a thread that is born meanwhile inherits
    its creator's mask (sched_setaffinity(2)). Raises BindingError where the kernel refuses.
    """
    moved: dict[int, CpuSet] = {}
    while fresh := [tid for tid in threads_of(pid) if tid not in moved]:
        for tid in fresh:
            moved[tid] = _move_thread(pid, tid, old, new, seats)
    return union(moved.values())


def _move_thread(
    pid: int, tid: int, old: RankPlacement, new: RankPlacement, seats: Seats
) -> CpuSet:
    try:
        if tid not in seats:
            seats[tid] = seat_of(get_affinity(tid), old)
        return set_affinity(seat_cpus(seats.get(tid), new), tid).effective
    except BindingError:
        if Path(f"/proc/{pid}/task/{tid}").exists():
            raise
        return CpuSet()
