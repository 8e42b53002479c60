"""What the agent costs while a job computes: resident memory, and CPU over ten seconds.

Ranks that only sleep are started through `shim exec` on one node; the agent there is looked at
from outside, in /proc. Nothing is compared: these are absolute numbers.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import harness
from benchmarks.pairs import Absolute, Spread
from shim.errors import ShimError
from testbed import Cluster

NODE = "n1"
RANKS = 2
IDLE_SECONDS = 10.0
MOST_RESIDENT_MB = 60.0
CLOCK_TICK_S = 0.01
"""The kernel's accounting of CPU time has this grain: less than it counts as none."""

EXCLUDED = (
    "the guard (a C process of well under 1 MB) and the container's keeper",
    "the seconds in which the job starts and ends",
)


@dataclass(frozen=True)
class Footprint:
    """The agent at rest. pss_mb shares each page among its users; wakeups are context switches."""

    rss_mb: float
    pss_mb: float
    private_mb: float
    cpu_s: float
    wakeups: int


def agent_pid(cluster: Cluster, timeout_s: float = 30) -> int:
    """Host pid of the node's agent, once there is one."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        pids = [pid for pid, text in cluster.node_pids(NODE).items() if "shim.agent" in text]
        if pids:
            return min(pids)
        time.sleep(0.1)
    raise ShimError(f"No agent appeared on {NODE} in {timeout_s:g} s.", "Run the step by hand.")


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, from the scheduler's own nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def wakeups(pid: int) -> int:
    """Voluntary context switches of all threads of a process."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def memory_mb(pid: int) -> dict[str, float]:
    """The sums of smaps_rollup in MB (10^6 bytes)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return {words[0].rstrip(":"): int(words[1]) * 1024 / 1e6 for words in fields}


def measure(cluster: Cluster, allocation: harness.Allocation) -> Footprint:
    """Start the ranks, let the agent come to rest, look at it, and let the ranks end."""
    seconds = IDLE_SECONDS + 6
    argv = ["srun", f"--jobid={allocation.job}", "--overcommit", "--mpi=pmix"]
    argv += ["--nodes=1", f"--nodelist={NODE}", f"--ntasks={RANKS}"]
    argv += ["shim", "exec", harness.image("openmpi-5.0"), "sleep", str(seconds)]
    process = cluster.popen(argv, env=harness.QUIET)
    try:
        pid = agent_pid(cluster)
        time.sleep(3)
        cpu, woken = cpu_seconds(pid), wakeups(pid)
        time.sleep(IDLE_SECONDS)
        memory = memory_mb(pid)
        found = Footprint(
            rss_mb=memory["Rss"],
            pss_mb=memory["Pss"],
            private_mb=memory["Private_Clean"] + memory["Private_Dirty"],
            cpu_s=cpu_seconds(pid) - cpu,
            wakeups=wakeups(pid) - woken,
        )
    finally:
        _, said = process.communicate(timeout=60)
    if process.returncode != 0:
        raise ShimError("The step with the agent failed.", f"It said:\n{said}")
    return found


def main() -> int:
    """Run the benchmark."""
    args = harness.parser(__doc__ or "", rounds=3, quick_rounds=1).parse_args()
    with (
        harness.bench_cluster(args, cpus=None) as cluster,
        harness.Allocation(cluster, nodes=2) as allocation,
    ):
        taken = []
        for number in range(harness.rounds_of(args)):
            harness.note(f"round {number + 1}: an agent at rest for {IDLE_SECONDS:g} s")
            taken.append(measure(cluster, allocation))
    absolutes = [
        Absolute("resident", "MB", Spread.of([one.rss_mb for one in taken]), MOST_RESIDENT_MB),
        Absolute("proportional (PSS)", "MB", Spread.of([one.pss_mb for one in taken])),
        Absolute("private", "MB", Spread.of([one.private_mb for one in taken])),
        Absolute(
            f"CPU in {IDLE_SECONDS:g} s at rest",
            "s",
            Spread.of([one.cpu_s for one in taken]),
            CLOCK_TICK_S,
        ),
        Absolute("wake-ups in that time", "", Spread.of([float(one.wakeups) for one in taken])),
    ]
    raw = {"footprints": [asdict(one) for one in taken]}
    return harness.report("agent footprint", args, [], EXCLUDED, raw=raw, absolutes=absolutes)


if __name__ == "__main__":
    sys.exit(harness.presentable(main))
