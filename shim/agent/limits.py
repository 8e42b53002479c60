"""What may have taken CPUs from a rank, for the verdict on its binding."""

from __future__ import annotations

from contextlib import suppress

from cpusets import CpuSet, CpusetsError


def limits_of(pid: int, launcher: CpuSet | None, inherited: CpuSet) -> dict[str, CpuSet]:
    """By name, outermost first (`cpusets.judge`).

    A rank that binds itself can be narrowed by its control group alone (sched_setaffinity(2));
    the masks that it was born with matter to one that was not to be bound.
    """
    from cpusets.cgroups import own_group  # only where a report is wanted

    limits: dict[str, CpuSet] = {}
    with suppress(CpusetsError):  # gone with its process
        group = own_group(pid)
        if group is not None:
            limits["the control group"] = group.effective()
    if launcher is not None:
        limits["the launcher's mask"] = launcher
    limits["its parent process"] = inherited
    return limits
