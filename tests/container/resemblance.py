"""How two processes' views of themselves are compared (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_STATUS_FIELDS = (
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "Cpus_allowed_list",
    "Mems_allowed_list",
    "THP_enabled",
)
_PLAIN = (
    "limits",
    "cgroup",
    "uid_map",
    "gid_map",
    "setgroups",
    "oom_score_adj",
    "umask",
    "securebits",
    "dumpable",
    "priority",
    "scheduler",
    "cwd",
    "host",
)


@dataclass(frozen=True)
class Difference:
    """One attribute that is not the same."""

    attribute: str
    runtime: object
    joined: object


def attributes(probe: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, object]:
    """The comparable part of what the probe printed: no pids, no ids given by the kernel.

    Args:
        host: what the probe printed outside of any container.
    """
    found: dict[str, object] = {name: probe[name] for name in _PLAIN}
    status = _status(probe["status"])
    found.update({f"status.{name}": status.get(name) for name in _STATUS_FIELDS})
    found["status.pid levels"] = len(status["NSpid"].split())
    for kind, link in probe["namespaces"].items():
        found[f"namespace.{kind}"] = "host" if link == host["namespaces"][kind] else "own"
    for entry in probe["environment"]:
        name, _, value = entry.partition("=")
        # --unsquash unpacks into a directory with a random name.
        found[f"environment.{name}"] = re.sub(r"/rootfs-\d+/", "/rootfs-N/", value)
    for fd, target in probe["descriptors"].items():
        found[f"descriptor.{fd}"] = re.sub(r"\d+", "N", target)
    mounts = [_mount(line) for line in probe["mountinfo"].splitlines()]
    for at, mount in enumerate(mounts):
        found[f"mount.{at:02}"] = mount
    return found


def differences(runtime: Mapping[str, object], joined: Mapping[str, object]) -> list[Difference]:
    """What differs, by name of attribute."""
    names = sorted({*runtime, *joined})
    return [
        Difference(name, runtime.get(name), joined.get(name))
        for name in names
        if runtime.get(name) != joined.get(name)
    ]


def _status(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: " ".join(value.split()) for name, _, value in pairs}


def _mount(line: str) -> str:
    """A line of mountinfo (proc(5)) less the ids of mount, parent, device and peer group."""
    left, _, right = line.partition(" - ")
    _, _, _, root, point, options, *tags = left.split()
    kinds = [re.sub(r":\d+", "", tag) for tag in tags]
    return " ".join([root, point, options, *kinds, "-", right])
