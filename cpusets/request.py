"""What is asked of the mapper, for one node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cpusets.cpuset import CpuSet


@dataclass(frozen=True)
class NodeRequest:
    """The ranks that run on one node, and how they want to sit there.

    `ranks` are numbers in the job, in the order in which they are to be placed.
    `given` are the masks that the launcher bound its tasks to, by rank; None if it bound
    nothing, so that the node's CPUs are ours to share out.
    `threads` per rank; None = one per core of the rank's share, or one per CPU of a given mask.
    `oversubscribe` allows more ranks than CPUs. It is True here because a launcher that starts
    more tasks than CPUs was asked to do so; a mapper's command line asks its own user.
    """

    ranks: tuple[int, ...]
    given: Mapping[int, CpuSet] | None = None
    threads: int | None = None
    oversubscribe: bool = True
