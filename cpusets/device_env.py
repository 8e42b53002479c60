"""The environment that makes GPU runtimes and communication libraries use the planned devices.

CUDA numbers devices by speed and a control group renumbers them, so a UUID is the only name that
means the same device everywhere; numbers are used where a vendor knows nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from cpusets.devices import Device
from cpusets.plan import RankPlacement
from cpusets.topology import Topology

_VARIABLES = {
    "nvidia": "CUDA_VISIBLE_DEVICES",
    "amd": "ROCR_VISIBLE_DEVICES",
    "intel": "ZE_AFFINITY_MASK",
}
# HIP numbers what ROCR leaves visible, and CUDA programs on AMD read CUDA_VISIBLE_DEVICES too:
# a second filter over renumbered devices would hide them.
_SECOND_FILTERS = {"amd": ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")}


def device_environment(
    placement: RankPlacement,
    existing: Mapping[str, str],
    topology: Topology | None = None,
    *,
    from_launcher: Collection[str] = (),
) -> dict[str, str]:
    """The variables to add for a rank's GPUs and, with a topology, its nearest NIC.

    What the user set is never replaced. `from_launcher` names variables in `existing` that the
    launcher set (a resource manager shows a task the devices of its step): these are.
    """
    added: dict[str, str] = {}
    for vendor, variable in _VARIABLES.items():
        mine = [gpu for gpu in placement.gpus if gpu.vendor == vendor]
        if mine and not _users(variable, existing, from_launcher):
            added[variable] = ",".join(_identity(gpu) for gpu in mine)
    if topology is not None:
        added |= _nearest_nic(placement, topology, existing)
    return added


def device_conflicts(
    placement: RankPlacement,
    existing: Mapping[str, str],
    *,
    from_launcher: Collection[str] = (),
) -> tuple[str, ...]:
    """Sentences about variables of the user's that hide or contradict the planned GPUs."""
    found = []
    for vendor in sorted({gpu.vendor for gpu in placement.gpus if gpu.vendor}):
        variable = _VARIABLES[vendor]
        planned = ",".join(_identity(gpu) for gpu in placement.gpus if gpu.vendor == vendor)
        if _users(variable, existing, from_launcher) and existing[variable] != planned:
            found.append(
                f"{variable}={existing[variable]} is kept, although rank {placement.rank} was "
                f"planned on {planned}."
            )
        found += [
            f"{second}={existing[second]} filters the GPUs a second time, after {variable} has "
            "renumbered them."
            for second in _SECOND_FILTERS.get(vendor, ())
            if existing.get(second)
        ]
    return tuple(found)


def _users(variable: str, existing: Mapping[str, str], from_launcher: Collection[str]) -> bool:
    return bool(existing.get(variable)) and variable not in from_launcher


def _identity(gpu: Device) -> str:
    if gpu.uuid is not None and gpu.vendor != "intel":  # Level Zero knows numbers only
        return gpu.uuid
    digits = re.search(r"\d+", gpu.name)
    return digits[0] if digits else gpu.name


def _nearest_nic(
    placement: RankPlacement, topology: Topology, existing: Mapping[str, str]
) -> dict[str, str]:
    """Hints for UCX and NCCL on nodes with several fabric ports; with one there is no choice."""
    fabric = [nic for nic in topology.devices if nic.kind == "nic" and nic.fabric]
    near = [nic for nic in fabric if _shares_numa(nic, placement.gpus) or nic.cpus & placement.cpus]
    if len(fabric) < 2 or not near:
        return {}
    names = [name for nic in near for name in nic.names if name in nic.fabric]
    hints = {
        "UCX_NET_DEVICES": ",".join(f"{name}:1" for name in names),
        "NCCL_IB_HCA": "=" + ",".join(names),  # "=": exact names, not prefixes
    }
    return {name: value for name, value in hints.items() if not existing.get(name)}


def _shares_numa(nic: Device, gpus: Sequence[Device]) -> bool:
    return any(nic.numa & gpu.numa for gpu in gpus)
