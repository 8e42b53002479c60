"""The one table of `shim exec`'s options, for the C front-end, the agent and the help text.

The names and arguments of the runtime's options are those of apptainer-exec(1) and of
SingularityCE's `singularity exec`; everything that the table does not list is refused, since
guessing whether an unknown option takes a value would guess where the image begins.

Standard library only: the package's build writes the table as C (shim/_options_header.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Value(IntEnum):
    """Whether an option takes a value, and how it may be written."""

    NONE = 0
    REQUIRED = 1
    """`--name VALUE` or `--name=VALUE`."""
    OPTIONAL = 2
    """`--name` or `--name=VALUE`, never the next word."""


class Use(IntEnum):
    """Who an option is for."""

    RUNTIME = 0
    OWN = 1
    REFUSED = 2
    NETWORK = 3
    """Refused, unless --no-pmix says that the program needs no PMIx."""


@dataclass(frozen=True)
class Option:
    """One option; *reason* says why it is refused and what to do instead."""

    name: str
    letter: str
    value: Value
    use: Use
    help: str
    reason: str = ""


def _flag(name: str, help: str, letter: str = "") -> Option:
    return Option(name, letter, Value.NONE, Use.RUNTIME, help)


def _with_value(name: str, help: str, letter: str = "") -> Option:
    return Option(name, letter, Value.REQUIRED, Use.RUNTIME, help)


def _own(name: str, help: str, value: Value = Value.REQUIRED, letter: str = "") -> Option:
    return Option(name, letter, value, Use.OWN, help)


def _refused(
    name: str, reason: str, value: Value = Value.NONE, letter: str = "", use: Use = Use.REFUSED
) -> Option:
    return Option(name, letter, value, use, "refused: " + reason, reason)


_HOST_NETWORK = (
    "PMIx and MPI need the host's network; leave the option out, "
    "or add --no-pmix if the program uses neither"
)
_STEP_CGROUP = (
    "ranks stay in the cgroup of their Slurm step; ask Slurm for the limit (--mem, --cpus-per-task)"
)
_ROOT_ONLY = "the runtime allows it to root only; leave it out"
_CHECKPOINT = "a joined rank is not a child of DMTCP; use the runtime itself for checkpointing"

MAPPING_OPTIONS = (
    _own("threads", "OpenMP threads per rank (default: the rank's CPUs)", letter="t"),
    _own("map-by", "auto, slot, node, package, numa, l3, l2, core, hwthread, ppr:N:OBJECT, ..."),
    _own("rank-by", "order of ranks: slot, fill, span, node"),
    _own("bind-to", "none, hwthread, core, l2, l3, numa, package (default: the rank's share)"),
    _own("cpus-per-rank", "cores per rank"),
    _own("smt", "hardware threads used per core"),
    _own("reserve", "cores kept free: N, N:l3, cpus:LIST"),
    _own("gpus-per-rank", "GPUs per rank: a number, or 1/k"),
    _own("device-order", "which GPUs a rank gets: nearest"),
    _own("mem-bind", "memory policy: none, local, bind, preferred, interleave"),
    _own("cpu-bind", "auto (default), none: as launched, or map_cpu:, mask_cpu:, list:, cores:"),
    _own("rankfile", "file that says where each rank sits"),
    _own("partitions", "shares of the node for several runtimes: FILE, or {mpi: 75%, io: 1}"),
    _own("oversubscribe", "allow more ranks than CPUs", Value.NONE),
)
"""Who sits where (docs/mapping.md). In `shim run` they belong to the job, not to one program."""

OWN_OPTIONS = (
    *MAPPING_OPTIONS,
    _own("partition", "put the program into this partition (default: the first)"),
    _own("report-bindings", "print who sits where, or write it to FILE", Value.OPTIONAL),
    _own("no-pmix", "the program uses no PMIx: every task is on its own", Value.NONE),
    _own("pmix-mode", "upstream PMIx client: auto, isolated, launcher, agent or none"),
    _own("runtime", "apptainer, singularity or a path (default: the first on PATH)"),
    _own("start-timeout", "seconds to wait for the container (default 120)"),
    _own("verbose", "say what is being done", Value.NONE, "v"),
    _own("help", "show this text", Value.NONE, "h"),
)

RUNTIME_OPTIONS = (
    _with_value("bind", "bind SRC[:DEST[:OPTS]] into the container", "B"),
    _with_value("mount", "mount specification (type=bind,source=...,destination=...)"),
    _with_value("home", "home directory: SRC or SRC:DEST", "H"),
    _with_value("overlay", "overlay image or directory", "o"),
    _with_value("scratch", "scratch directory inside the container", "S"),
    _with_value("workdir", "directory for /tmp, /var/tmp and home with --contain", "W"),
    _with_value("pwd", "initial working directory inside the container"),
    _with_value("cwd", "same as --pwd"),
    _with_value("env", "set an environment variable in the container"),
    _with_value("env-file", "set environment variables from a file"),
    _with_value("app", "SCIF application whose environment to use"),
    _with_value("hostname", "host name inside the container"),
    _with_value("dns", "DNS servers for resolv.conf"),
    _with_value("security", "security features (SELinux, AppArmor, seccomp, uid, gid)"),
    _with_value("add-caps", "capabilities to add"),
    _with_value("drop-caps", "capabilities to drop"),
    _with_value("fusemount", "FUSE mount specification (implies --pid)"),
    _with_value("no-mount", "disable mounts set in the runtime's configuration"),
    _with_value("pem-path", "RSA key of an encrypted image"),
    _with_value("runscript-timeout", "time limit of the image's start scripts"),
    _with_value("tmpdir", "temporary directory for unpacking the image"),
    _flag("passphrase", "ask for the passphrase of an encrypted image"),
    _flag("cleanenv", "start from an empty environment", "e"),
    _flag("contain", "minimal /dev, empty /tmp and home", "c"),
    _flag("containall", "also PID, IPC and environment", "C"),
    _flag("compat", "Docker-like defaults"),
    _flag("nv", "NVIDIA GPUs"),
    _flag("nvccli", "NVIDIA GPUs through nvidia-container-cli"),
    _flag("rocm", "AMD GPUs"),
    _flag("no-nv", "no NVIDIA GPUs although the configuration says so"),
    _flag("no-rocm", "no AMD GPUs although the configuration says so"),
    _flag("writable", "write into the sandbox image", "w"),
    _flag("writable-tmpfs", "writable layer in memory"),
    _flag("no-home", "do not mount the home directory"),
    _flag("no-init", "no init process with --pid"),
    _flag("no-umask", "umask 0022 inside the container"),
    _flag("no-eval", "do not evaluate environment values in a shell"),
    _flag("no-privs", "drop all privileges of root"),
    _flag("no-pid", "no PID namespace although the configuration says so"),
    _flag("no-https", "pull from a registry without TLS"),
    _flag("fakeroot", "appear as root", "f"),
    _flag("userns", "user namespace even with a setuid runtime", "u"),
    _flag("pid", "new PID namespace", "p"),
    _flag("ipc", "new IPC namespace", "i"),
    _flag("uts", "new UTS namespace"),
    _flag("underlay", "underlay instead of overlay for bind points"),
    _flag("unsquash", "unpack the image before running"),
    _flag("disable-cache", "do not use the image cache"),
    _flag("ignore-subuid", "ignore /etc/subuid"),
    _flag("ignore-fakeroot-command", "ignore the fakeroot command"),
    _flag("ignore-userns", "ignore user namespaces"),
)

REFUSED_OPTIONS = (
    _refused("net", _HOST_NETWORK, letter="n", use=Use.NETWORK),
    _refused("network", _HOST_NETWORK, Value.REQUIRED, use=Use.NETWORK),
    _refused("network-args", _HOST_NETWORK, Value.REQUIRED, use=Use.NETWORK),
    _refused("netns-path", _HOST_NETWORK, Value.REQUIRED, use=Use.NETWORK),
    _refused("sharens", "one container per node is what shim does; leave it out"),
    _refused("keep-privs", _ROOT_ONLY),
    _refused("allow-setuid", _ROOT_ONLY),
    _refused("boot", _ROOT_ONLY),
    _refused("apply-cgroups", _STEP_CGROUP, Value.REQUIRED),
    _refused("blkio-weight", _STEP_CGROUP, Value.REQUIRED),
    _refused("blkio-weight-device", _STEP_CGROUP, Value.REQUIRED),
    _refused("cpu-shares", _STEP_CGROUP, Value.REQUIRED),
    _refused("cpus", _STEP_CGROUP, Value.REQUIRED),
    _refused("cpuset-cpus", _STEP_CGROUP, Value.REQUIRED),
    _refused("cpuset-mems", _STEP_CGROUP, Value.REQUIRED),
    _refused("memory", _STEP_CGROUP, Value.REQUIRED),
    _refused("memory-reservation", _STEP_CGROUP, Value.REQUIRED),
    _refused("memory-swap", _STEP_CGROUP, Value.REQUIRED),
    _refused("oom-kill-disable", _STEP_CGROUP),
    _refused("pids-limit", _STEP_CGROUP, Value.REQUIRED),
    _refused("dmtcp-launch", _CHECKPOINT, Value.REQUIRED),
    _refused("dmtcp-restart", _CHECKPOINT, Value.REQUIRED),
)

TABLE: tuple[Option, ...] = (*OWN_OPTIONS, *RUNTIME_OPTIONS, *REFUSED_OPTIONS)
