"""The hardware of a node as an immutable value: caches, cores, NUMA nodes, devices."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cpusets import _hwloc
from cpusets.cpuset import CpuSet, union
from cpusets.devices import Device, devices_of
from cpusets.errors import TopologyError
from cpusets.xmlcheck import check_dialect

# The kinds of objects by the field's words, outermost first as they usually nest.
KINDS = ("package", "die", "numa", "l5", "l4", "l3", "l2", "l1", "core", "pu")


@dataclass(frozen=True, slots=True)
class CpuObject:
    """One object of the machine that holds CPUs.

    `logical_index` counts in the machine's order, from 0, over objects of the same kind;
    `os_index` is the number the operating system uses, None where it has none.
    """

    kind: str
    logical_index: int
    os_index: int | None
    cpus: CpuSet


@dataclass(frozen=True, slots=True)
class NumaNode(CpuObject):
    """A NUMA node; `cpus` is empty for one that has only memory. `memory` is in bytes."""

    memory: int


@dataclass(frozen=True, slots=True)
class CpuKind:
    """PUs of one kind of core on a hybrid chip. A higher `efficiency` is a faster core."""

    cpus: CpuSet
    efficiency: int
    name: str


@dataclass(frozen=True, eq=False)
class Topology:
    """A node's hardware. An immutable value: nothing to close, safe to share and to pickle.

    `complete` are the PUs that are online, `allowed` those of them that the control group (or
    the file) allows. Objects hold all of their online PUs, allowed or not.
    """

    source: str
    complete: CpuSet
    allowed: CpuSet
    objects: tuple[CpuObject, ...]
    devices: tuple[Device, ...]
    cpu_kinds: tuple[CpuKind, ...]
    numa_distances: tuple[tuple[int, ...], tuple[int, ...]] | None
    """NUMA OS indices and the row-major matrix of relative latencies between them (10 = local)."""

    _parts: dict[tuple[str, int], tuple[CpuSet, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def from_system(cls, *, devices: bool = False, pid: int | None = None) -> Topology:
        """This machine, or with `pid` as that process's control group allows it.

        GPUs and NICs are looked for only with `devices`, since drivers may take seconds.
        Raises TopologyError.
        """
        return _converted(_hwloc.read_system(devices=devices, pid=pid), "this machine")

    @classmethod
    def from_xml(cls, path: str | os.PathLike[str]) -> Topology:
        """The machine described by a file that lstopo exported. Raises TopologyError."""
        name = os.fspath(path)
        try:
            content = Path(name).read_bytes()
        except OSError as error:
            raise TopologyError(
                f"The topology {name} cannot be read: {error.strerror}.",
                "Give the path of a file that `lstopo FILE.xml` wrote.",
            ) from error
        check_dialect(content, name)
        return _converted(_hwloc.read_xml(name), name)

    @classmethod
    def from_synthetic(cls, description: str) -> Topology:
        """An invented machine, such as `pack:2 numa:2 core:8 pu:2`. Raises TopologyError."""
        return _converted(_hwloc.read_synthetic(description), description)

    def of_kind(self, kind: str) -> tuple[CpuObject, ...]:
        """All objects of a kind of KINDS in logical order; empty where the machine has none."""
        return self._by_kind.get(kind, ())

    @cached_property
    def _by_kind(self) -> dict[str, tuple[CpuObject, ...]]:
        found: dict[str, list[CpuObject]] = {}
        for obj in self.objects:
            found.setdefault(obj.kind, []).append(obj)
        return {kind: tuple(objects) for kind, objects in found.items()}

    @property
    def pus(self) -> tuple[CpuObject, ...]:
        """Processing units (hardware threads)."""
        return self.of_kind("pu")

    @property
    def cores(self) -> tuple[CpuObject, ...]:
        """Cores; on machines that describe none, the PUs stand for them."""
        return self.of_kind("core") or self.of_kind("pu")

    @property
    def l3s(self) -> tuple[CpuObject, ...]:
        """Level 3 caches."""
        return self.of_kind("l3")

    @property
    def packages(self) -> tuple[CpuObject, ...]:
        """Packages (sockets)."""
        return self.of_kind("package")

    @cached_property
    def numa_nodes(self) -> tuple[NumaNode, ...]:
        """NUMA nodes, those without CPUs included."""
        return tuple(obj for obj in self.of_kind("numa") if isinstance(obj, NumaNode))

    @cached_property
    def pu_order(self) -> dict[int, int]:
        """OS index of a PU to its logical index: neighbours in this order share caches."""
        return {obj.cpus.first(): obj.logical_index for obj in self.pus}

    def parts(self, kind: str, cpus: CpuSet) -> tuple[CpuSet, ...]:
        """`cpus` cut at the borders of one kind's objects, in the machine's order.

        CPUs outside of all these objects form a last part of their own. Remembered, since plans
        ask for the same cuts again and again.
        """
        key = (kind, cpus.bits)
        if key not in self._parts:
            self._parts[key] = self._cut(kind, cpus)
        return self._parts[key]

    def _cut(self, kind: str, cpus: CpuSet) -> tuple[CpuSet, ...]:
        parts: list[CpuSet] = []
        rest = cpus
        for obj in self.of_kind(kind):
            part = obj.cpus & rest  # NUMA nodes of two memories may hold the same CPUs
            if part:
                parts.append(part)
                rest = rest - part
        if rest:
            parts.append(rest)
        order = self.pu_order
        return tuple(sorted(parts, key=lambda part: min(order.get(cpu, cpu) for cpu in part)))

    def spanned(self, kind: str, cpus: CpuSet) -> tuple[CpuObject, ...]:
        """The objects of a kind that hold at least one of the given CPUs."""
        return tuple(obj for obj in self.of_kind(kind) if obj.cpus & cpus)


def _converted(raw: _hwloc.RawTopology, source: str) -> Topology:
    objects = tuple(_object(obj) for obj in raw.objects if obj.type in KINDS)
    complete = union(obj.cpus for obj in objects if obj.kind == "pu")
    return Topology(
        source=source,
        complete=complete,
        allowed=CpuSet(raw.allowed) & complete,
        objects=objects,
        devices=devices_of(raw.objects),
        cpu_kinds=_kinds(raw.cpu_kinds),
        numa_distances=raw.numa_distances,
    )


def _object(obj: _hwloc.RawObject) -> CpuObject:
    cpus = CpuSet(obj.cpus)
    if obj.type == "numa":
        return NumaNode("numa", obj.logical_index, obj.os_index, cpus, obj.memory)
    return CpuObject(obj.type, obj.logical_index, obj.os_index, cpus)


def _kinds(raw: Iterable[tuple[int, int, dict[str, str]]]) -> tuple[CpuKind, ...]:
    return tuple(
        CpuKind(CpuSet(bits), efficiency, infos.get("CoreType", ""))
        for bits, efficiency, infos in raw
    )
