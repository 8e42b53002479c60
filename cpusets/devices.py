"""GPUs and network interfaces of a node, one value per physical device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cpusets._hwloc import RawObject
from cpusets.cpuset import CpuSet

# hwloc's names of what drives an accelerator, and the vendor each belongs to.
_VENDORS = {
    "cuda": "nvidia", "nvml": "nvidia", "rsmi": "amd", "ze": "intel", "levelzero": "intel",
}  # fmt: skip
_UUID_KEYS = ("NVIDIAUUID", "AMDUUID", "LevelZeroUUID")
_NIC_KINDS = {"network", "openfabrics"}
_GPU_KINDS = {"gpu", "coproc"}


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU or NIC.

    `names` are what the operating system and the drivers call it (`cuda0`, `nvml0`, `mlx5_0`);
    `pci` its bus id; `uuid` what the vendor's runtime accepts, None where hwloc did not learn
    it; `cpus` the PUs nearest to it and `numa` the OS indices of the NUMA nodes nearest to it;
    `fabric` those of its names that are ports of a fabric for verbs and alike, not sockets.
    """

    kind: str
    names: tuple[str, ...]
    pci: str | None
    uuid: str | None
    vendor: str | None
    cpus: CpuSet
    numa: CpuSet
    fabric: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name by which reports call it."""
        return self.names[0]


def devices_of(objects: Iterable[RawObject]) -> tuple[Device, ...]:
    """The GPUs and NICs among hwloc's OS devices, in hwloc's order.

    One GPU shows as several OS devices (cuda0, nvml0, card0 …) below one PCI device: they are
    merged by bus id. Where a driver shows several devices there (MIG, partitioned MI300), each
    is one.
    """
    groups: dict[tuple[str, str], list[RawObject]] = {}
    for obj in objects:
        kind = _kind(obj)
        if kind is not None:
            groups.setdefault((kind, obj.pci or obj.name or ""), []).append(obj)
    merged = [
        _merged(kind, part) for (kind, _), members in groups.items() for part in _split(members)
    ]
    return tuple(device for device in merged if device.kind != "gpu" or _computes(device))


def _split(members: list[RawObject]) -> list[list[RawObject]]:
    """The members of one bus id, divided where one driver has several devices there."""
    by_driver: dict[str, list[RawObject]] = {}
    for member in members:
        by_driver.setdefault((member.name or "").rstrip("0123456789"), []).append(member)
    drivers = [found for name, found in by_driver.items() if name in _VENDORS]
    count = max((len(found) for found in drivers), default=1)
    if count == 1:
        return [members]
    return [[found[i] for found in by_driver.values() if i < len(found)] for i in range(count)]


def _kind(obj: RawObject) -> str | None:
    if obj.type != "osdev" or not obj.name:
        return None
    if obj.osdev_kind in _GPU_KINDS:
        return "gpu"
    return "nic" if obj.osdev_kind in _NIC_KINDS else None


def _computes(gpu: Device) -> bool:
    """False for a bare display adapter (`card0`, `controlD64`) without a compute driver."""
    return gpu.vendor is not None


def _merged(kind: str, members: list[RawObject]) -> Device:
    names = tuple(sorted((m.name or "" for m in members), key=_preference))
    vendors = [v for m in members for prefix, v in _VENDORS.items() if _named(m, prefix)]
    uuids = [m.infos[key] for m in members for key in _UUID_KEYS if key in m.infos]
    return Device(
        kind=kind,
        names=names,
        pci=members[0].pci,
        uuid=uuids[0] if uuids else None,
        vendor=vendors[0] if vendors else None,
        cpus=CpuSet(members[0].cpus),
        numa=CpuSet(members[0].nodes),
        fabric=tuple(m.name or "" for m in members if m.osdev_kind == "openfabrics"),
    )


def _named(obj: RawObject, prefix: str) -> bool:
    return (obj.name or "").startswith(prefix) or (obj.subtype or "").lower() == prefix


def _preference(name: str) -> tuple[int, str]:
    """Compute runtimes' names first: they are what users pass on."""
    order = ("cuda", "rsmi", "ze", "nvml", "mlx", "hfi", "ib")
    return next((i for i, prefix in enumerate(order) if name.startswith(prefix)), 99), name
