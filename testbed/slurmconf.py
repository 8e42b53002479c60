"""The text of slurm.conf and cgroup.conf for a cluster.

Evidence for the choices: slurm.conf(5) of 22.05 to 26.05, and trials on hosts without systemd
or writable cgroups, where ``proctrack/linuxproc`` and no cgroup plugin are what works.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from shim.errors import ShimError
from testbed.state import HEAD, ClusterSpec
from testbed.suites import Suite


def slurm_conf(spec: ClusterSpec, addresses: Mapping[str, str], hardware: str) -> str:
    """Return slurm.conf.

    ``hardware`` is the part of ``slurmd -C`` that describes CPUs and memory. With invented
    CPUs, task/affinity cannot work (the kernel refuses masks of CPUs that do not exist:
    "task_g_set_affinity: Invalid argument"), so binding is left out and slurmctld is told to
    believe the file.
    """
    invented = spec.cpus is not None
    defaults = {
        "ClusterName": spec.name,
        "SlurmctldHost": f"{HEAD}({addresses[HEAD]})",
        "SlurmUser": "slurm",
        "AuthType": "auth/munge",
        "StateSaveLocation": "/var/lib/slurm/slurmctld",
        "SlurmdSpoolDir": "/var/lib/slurm/slurmd",
        "SlurmctldPidFile": "/run/slurmctld.pid",
        "SlurmdPidFile": "/run/slurmd.pid",
        "SlurmctldLogFile": "/var/log/slurm/slurmctld.log",
        "SlurmdLogFile": "/var/log/slurm/slurmd.log",
        "SlurmctldDebug": "verbose",
        "SlurmdDebug": "verbose",
        "ProctrackType": "proctrack/linuxproc",
        "JobAcctGatherType": "jobacct_gather/none",
        "TaskPlugin": "task/none" if invented else "task/affinity",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "permit_job_expansion,bf_interval=1,sched_interval=2,"
        "batch_sched_delay=0",
        "MpiDefault": "none",
        "MailProg": "/bin/true",
        "ReturnToService": "2",
        # Not the default 300, and not less: a round of pings lasts up to MessageTimeout (10 s)
        # when one node is dead, and the others' last answers age meanwhile.
        "SlurmdTimeout": "30",
        "SlurmctldTimeout": "30",
        "KillWait": "5",
        # The limits of whoever starts the cluster and of whoever submits may differ, and an
        # ordinary user on the node cannot raise a hard limit: srun would print errors.
        "PropagateResourceLimitsExcept": "MEMLOCK,NOFILE,NPROC,CORE,STACK",
    }
    if invented:
        defaults["SlurmdParameters"] = "config_overrides"
    lines = merged(defaults, spec.slurm_conf)
    for node in spec.compute:
        lines.append(f"NodeName={node} NodeAddr={addresses[node]} {hardware} State=UNKNOWN")
    lines.append(
        f"PartitionName=main Nodes={','.join(spec.compute)} Default=YES MaxTime=INFINITE State=UP"
    )
    return "\n".join(lines) + "\n"


def cgroup_conf(suite: Suite) -> str:
    """Return cgroup.conf: no cgroups, as far as the Slurm version can be told so."""
    return f"CgroupPlugin={suite.cgroup_plugin}\n"


def merged(defaults: Mapping[str, str], extra: Sequence[str]) -> list[str]:
    """Lay the user's lines over the defaults.

    A line replaces the default of the same key (names are case-insensitive in slurm.conf);
    slurmctld would otherwise complain about a parameter given twice.
    """
    given = [key_of(line) for line in extra]
    kept = [f"{key}={value}" for key, value in defaults.items() if key.lower() not in given]
    return [*kept, *extra]


def key_of(line: str) -> str:
    """The parameter that a slurm.conf line sets, in lower case; refuse what is no such line."""
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9]*)=\S.*", line)
    if match is None:
        raise ShimError(
            f"{line!r} is not a line of slurm.conf.",
            "Give one Key=value per --slurm-conf, as in --slurm-conf PrologFlags=Contain.",
        )
    return match[1].lower()


def hardware(spec: ClusterSpec, described: str) -> str:
    """CPUs and memory for a NodeName line.

    ``described`` is what ``slurmd -C`` prints on a node, e.g. "NodeName=n1 CPUs=2 Boards=1
    SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=24105".
    """
    found = dict(re.findall(r"(\w+)=(\d+)", described.splitlines()[0] if described else ""))
    if not {"CPUs", "RealMemory"} <= found.keys():
        raise ShimError(
            f"slurmd does not describe this machine: {described.strip()!r}.",
            "Look at shim cluster logs n1.",
        )
    # Less than there is: slurmd drains a node that reports less than its line says.
    memory = f"RealMemory={int(found.pop('RealMemory')) * 9 // 10}"
    if spec.cpus is not None:
        return f"CPUs={spec.cpus} {memory}"
    keys = ("CPUs", "Boards", "SocketsPerBoard", "CoresPerSocket", "ThreadsPerCore")
    return " ".join([*(f"{key}={found[key]}" for key in keys if key in found), memory])
