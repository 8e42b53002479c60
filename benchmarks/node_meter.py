"""CPU time and peak memory of one node of the private cluster, through control groups.

The node's slurmd is put into groups of its own; whatever Slurm starts there from then on inherits
them. So the numbers hold exactly the node's side of a job (slurmstepd, runtimes, FUSE servers,
agent, ranks, and their tear-down), and nothing of the rest of the machine.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shim.errors import ShimError
from testbed import Cluster

ROOT = Path("/sys/fs/cgroup")
SETTLE_SECONDS = 10.0
"""So long may the tear-down of a step take before the step counts as not ended."""

_SAMPLE_SECONDS = 0.005


@dataclass(frozen=True)
class NodeCost:
    """What a step cost its node.

    cpu_s: CPU seconds, of user and kernel, until nothing of the step ran any more.
    memory_bytes: peak of anonymous, shared and kernel memory (sampled every 5 ms).
    cached_bytes: peak with page cache, as the kernel counted it; each FUSE mount of an image has
        a page cache of its own, so this is where a mount per rank shows.
    """

    cpu_s: float
    memory_bytes: int
    cached_bytes: int


class NodeMeter:
    """The control groups around one node's slurmd. Use as a context manager."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._pids = [pid for pid, text in cluster.node_pids(node).items() if "slurmd" in text]
        name = f"shim-bench-{os.getpid()}-{node}"
        self._cpu = ROOT / "cpuacct" / name
        self._memory = ROOT / "memory" / name

    def __enter__(self) -> NodeMeter:
        if not (ROOT / "cpuacct").is_dir() or not (ROOT / "memory").is_dir():
            raise ShimError(
                "This machine has no cpuacct and memory controllers (control groups, version 1).",
                "Measure without --node-cost, or boot with systemd.unified_cgroup_hierarchy=0.",
            )
        for group in (self._cpu, self._memory):
            group.mkdir()
            for pid in self._pids:
                (group / "cgroup.procs").write_text(str(pid))
        return self

    def __exit__(self, *_: object) -> None:
        for group in (self._cpu, self._memory):
            for pid in (group / "cgroup.procs").read_text().split():
                # Processes may end between the reading and the moving.
                try:
                    (group.parent / "cgroup.procs").write_text(pid)
                except ProcessLookupError:
                    continue
            group.rmdir()

    @property
    def pids(self) -> list[int]:
        """Host pids of everything on the node that came from Slurm, slurmd included."""
        return [int(pid) for pid in (self._cpu / "cgroup.procs").read_text().split()]

    @contextmanager
    def measuring(self) -> Iterator[list[NodeCost]]:
        """Measure what happens in the context; the list has its cost afterwards."""
        self.settle()
        # Memory of earlier steps stays charged to the group as long as their page cache does.
        (self._memory / "memory.force_empty").write_text("0")
        cost: list[NodeCost] = []
        (self._memory / "memory.max_usage_in_bytes").write_text("0")
        at_rest = self._memory_now()
        peak = [at_rest]
        stop = threading.Event()
        sampler = threading.Thread(target=self._sample, args=(stop, peak))
        sampler.start()
        before = self._cpu_ns()
        try:
            yield cost
            self.settle()
        finally:
            stop.set()
            sampler.join()
        cost.append(
            NodeCost(
                cpu_s=(self._cpu_ns() - before) / 1e9,
                memory_bytes=peak[0] - at_rest,
                cached_bytes=int((self._memory / "memory.max_usage_in_bytes").read_text()),
            )
        )

    def settle(self) -> None:
        """Wait until nothing but slurmd itself runs on the node."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while set(self.pids) - set(self._pids):
            if time.monotonic() > deadline:
                left = [_command(pid) for pid in set(self.pids) - set(self._pids)]
                raise ShimError(
                    f"{SETTLE_SECONDS:g} s after a step ended, this still ran: {', '.join(left)}.",
                    "Such a measurement means nothing; look for what keeps it alive.",
                )
            time.sleep(0.002)

    def _cpu_ns(self) -> int:
        return int((self._cpu / "cpuacct.usage").read_text())

    def _memory_now(self) -> int:
        """Charged bytes without file pages: cache counts shared memory, which is no file."""
        usage = int((self._memory / "memory.usage_in_bytes").read_text())
        lines = (self._memory / "memory.stat").read_text().splitlines()
        counts = dict(line.split() for line in lines)
        return usage - int(counts["total_cache"]) + int(counts["total_shmem"])

    def _sample(self, stop: threading.Event, peak: list[int]) -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            peak[0] = max(peak[0], self._memory_now())


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return f"process {pid}"
