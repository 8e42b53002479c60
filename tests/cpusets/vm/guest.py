"""What runs as the first process of the virtual machine: bind real processes, tell what came of it.

Each check prints one result; tests/cpusets/test_real_kernel.py says what it has to be.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cpusets import (
    CpuSet,
    MemoryPolicy,
    NodeRequest,
    Topology,
    get_affinity,
    judge,
    openmp_environment,
    plan_node,
    set_affinity,
)
from cpusets.cgroups import CpusetGroup, own_group
from cpusets.moving import apply_steps, migrate_pages
from cpusets.partition_spec import parse_partition
from cpusets.partitions import Step, carve, resize
from tests.cpusets.vm.machine import MARK

CGROUP = Path("/sys/fs/cgroup")
USER = 1000
SET_MEMPOLICY = 238  # x86_64


def main() -> None:
    """Mount, check, power off."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, target in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")):
        libc.mount(kind.encode(), target.encode(), kind.encode(), 0, None)
    libc.mount(b"cgroup2", str(CGROUP).encode(), b"cgroup2", 0, None)
    try:
        for check in CHECKS:
            tell(check.__name__, check())
        tell("end", "reached")
    except BaseException:  # the first process has nobody to raise to
        traceback.print_exc()
    os.sync()
    libc.reboot(0x4321FEDC)  # RB_POWER_OFF


def tell(name: str, value: object) -> None:
    print(f"\n{MARK}{json.dumps([name, value])}", flush=True)


@contextmanager
def sleepers(count: int, uid: int = 0) -> Iterator[list[int]]:
    """Processes that wait."""
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os.setuid(uid)
            while True:
                os.sched_yield()
                ctypes.CDLL(None).usleep(50_000)
        pids.append(pid)
    try:
        yield pids
    finally:
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def topology() -> dict[str, object]:
    found = Topology.from_system()
    return {
        "packages": [str(o.cpus) for o in found.packages],
        "numa": [str(o.cpus) for o in found.numa_nodes],
        "cores": len(found.cores),
        "complete": str(found.complete),
    }


def ranks_and_their_openmp_threads() -> list[dict[str, object]]:
    """Four ranks of two threads, each bound and then asked from inside."""
    found = Topology.from_system()
    plan = plan_node(found, get_affinity(), NodeRequest((0, 1, 2, 3), threads=2))
    told: list[dict[str, object]] = []
    for p in plan.placements:
        done = subprocess.run(
            ["/bin/places"],
            env=openmp_environment(p, {}),
            preexec_fn=lambda cpus=p.cpus: set_affinity(cpus),  # type: ignore[misc]
            capture_output=True,
            text=True,
            check=True,
        )
        rows = sorted(list(map(int, line.split())) for line in done.stdout.splitlines())
        told.append(
            {
                "planned": str(p.cpus),
                "places": [str(place) for place in p.places],
                "threads": [str(CpuSet.of(row[1:])) for row in rows],
            }
        )
    return told


def partitions_while_processes_run() -> list[dict[str, str]]:
    """Grow one share at the cost of another, and look at the kernel after every step."""
    found = Topology.from_system()
    specs = [parse_partition("mpi", 6), parse_partition("analysis", 2)]
    table = carve(found, get_affinity(), specs)
    with sleepers(2) as (mpi, analysis):
        members = {"mpi": [mpi], "analysis": [analysis]}
        apply_steps([Step(p.name, p.cpus) for p in table.partitions], members)
        moments = [{"mpi": str(get_affinity(mpi)), "analysis": str(get_affinity(analysis))}]
        table, steps = resize(found, table, "analysis", 4, donors=["mpi"])
        for step in steps:
            apply_steps([step], members)
            moments.append({"mpi": str(get_affinity(mpi)), "analysis": str(get_affinity(analysis))})
    return moments


def memory_policies() -> dict[str, object]:
    """Bind memory to the second node as the joiner does, then move the pages back."""
    policy = MemoryPolicy(mode=2, nodes=CpuSet.of([1]))  # type: ignore[arg-type]
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None)
        mask = policy.nodes.to_bytes()
        libc.syscall(SET_MEMPOLICY, int(policy.mode), mask, ctypes.c_ulong(len(mask) * 8 + 1))
        filled = bytearray(os.urandom(8 << 20))
        os.write(writing, b"x")
        while filled:
            libc.usleep(50_000)
    os.read(reading, 1)
    before = _pages(pid)
    told = Path(f"/proc/{pid}/numa_maps").read_text(encoding="ascii").splitlines()
    left = migrate_pages(pid, CpuSet.of([1]), CpuSet.of([0]))
    after = _pages(pid)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    policies = {line.split()[1] for line in told}
    return {"policies": sorted(policies), "before": before, "after": after, "left": left}


def _pages(pid: int) -> list[int]:
    """Anonymous pages of a process on each node."""
    pages = [0, 0]
    for line in Path(f"/proc/{pid}/numa_maps").read_text(encoding="ascii").splitlines():
        if "anon=" in line:
            for word in line.split():
                if word[0] == "N" and word[1].isdigit():
                    node, _, count = word[1:].partition("=")
                    pages[int(node)] += int(count)
    return pages


def _group(name: str, cpus: str, parent: Path = CGROUP) -> Path:
    (parent / "cgroup.subtree_control").write_text("+cpuset", encoding="ascii")
    group = parent / name
    group.mkdir(exist_ok=True)
    (group / "cpuset.cpus").write_text(cpus, encoding="ascii")
    return group


def a_cpuset_that_shrinks_under_a_job() -> dict[str, object]:
    """Slurm or an administrator takes CPUs from a running job's control group."""
    job = _group("job", "0-7")
    with sleepers(1) as (pid,):
        (job / "cgroup.procs").write_text(str(pid), encoding="ascii")
        planned = CpuSet.parse("0-5")
        set_affinity(planned, pid)
        before = get_affinity(pid)
        (job / "cpuset.cpus").write_text("0-3", encoding="ascii")
        group = own_group(pid)
        assert group is not None
        effective = get_affinity(pid)
        verdict = judge(planned, effective, limits={"the control group": group.effective()})
        widened = set_affinity(CpuSet.parse("0-15"), pid)
        return {
            "before": str(before),
            "after": str(effective),
            "verdict": str(verdict),
            "widened": str(widened.effective),
            "version": group.version,
        }


def delegation() -> dict[str, object]:
    """An ordinary user carves groups in a subtree that was given to it, and only there."""
    tree = _group("user", "8-15")
    _group("ranks", "8-15", tree)
    for path in (tree, tree / "cgroup.procs", tree / "cgroup.subtree_control"):
        os.chown(path, USER, USER)
    for path in (tree / "ranks").rglob("*"):
        os.chown(path, USER, USER)
    os.chown(tree / "ranks", USER, USER)
    with sleepers(1, USER) as (pid,):
        (tree / "ranks" / "cgroup.procs").write_text(str(pid), encoding="ascii")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.setuid(USER)
            os.write(writing, json.dumps(_as_user(tree, pid)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        told: dict[str, object] = json.loads(os.read(reading, 65536))
        return {**told, "processes": str(get_affinity(pid))}


def _as_user(tree: Path, pid: int) -> dict[str, object]:
    given = CpusetGroup(tree, 2)
    small = given.child("small", CpuSet.parse("8-9"))
    small.attach(pid)
    (moved,) = apply_steps(
        (Step("small", CpuSet.parse("10-11")),), {"small": [pid]}, {"small": small}
    )
    return {
        "delegated": given.delegated(),
        "root": CpusetGroup(CGROUP, 2).delegated(),
        "by": moved.by,
        "effective": str(small.effective()),
    }


def a_cpu_that_goes_offline() -> dict[str, object]:
    """Topology, plan and binding follow; whoever asks for the CPU is told that it is missing."""
    Path("/sys/devices/system/cpu/cpu5/online").write_text("0", encoding="ascii")
    found = Topology.from_system()
    plan = plan_node(found, CpuSet.parse("0-15"), NodeRequest((0, 1, 2, 3)))
    with sleepers(1) as (pid,):
        bound = set_affinity(CpuSet.parse("4-5"), pid)
        verdict = judge(bound.asked, bound.effective, limits={"an offline CPU": found.complete})
    return {
        "complete": str(found.complete),
        "plan": [str(p.cpus) for p in plan.placements],
        "bound": str(bound.effective),
        "verdict": str(verdict),
    }


CHECKS: tuple[Callable[[], object], ...] = (
    topology,
    ranks_and_their_openmp_threads,
    partitions_while_processes_run,
    memory_policies,
    a_cpuset_that_shrinks_under_a_job,
    delegation,
    a_cpu_that_goes_offline,
)
