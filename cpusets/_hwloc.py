"""The boundary to libhwloc 2.x: load a topology, copy out what is used, free it.

Nothing of the library's memory leaves this module. The library is opened by its soname
`libhwloc.so.15`, which all of hwloc 2.x shares and which fixes the structure layouts that
`_hwloc_build` declares; anything that says another major version is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cpusets.errors import TopologyError

SONAME = "libhwloc.so.15"
MAJOR = 2

# hwloc_obj_type_t, by value (hwloc.h, 2.x).
TYPE_NAMES = (
    "machine", "package", "core", "pu", "l1", "l2", "l3", "l4", "l5", "l1i", "l2i", "l3i",
    "group", "numa", "bridge", "pci", "osdev", "misc", "memcache", "die",
)  # fmt: skip
_PCI, _OSDEV = TYPE_NAMES.index("pci"), TYPE_NAMES.index("osdev")

# hwloc_get_type_depth_e: levels beside the main tree.
_DEPTH_NUMANODE, _DEPTH_OSDEV = -3, -6
_UNKNOWN_INDEX = 0xFFFFFFFF

_FLAG_INCLUDE_DISALLOWED = 1 << 0
_FILTER_KEEP_IMPORTANT = 3
_COMPONENT_BLACKLIST = 1 << 0
_DISTANCES_FROM_OS, _DISTANCES_MEANS_LATENCY = 1 << 0, 1 << 2

# hwloc_obj_osdev_type_e, by value.
OSDEV_KINDS = ("block", "gpu", "network", "openfabrics", "dma", "coproc")


@dataclass(frozen=True, slots=True)
class RawObject:
    """One hwloc object, copied. Sets are integers whose bit i stands for OS index i."""

    type: str
    logical_index: int
    os_index: int | None
    cpus: int
    nodes: int
    name: str | None = None
    subtype: str | None = None
    memory: int = 0
    pci: str | None = None
    osdev_kind: str | None = None
    infos: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RawTopology:
    """All that is read from one hwloc topology."""

    objects: tuple[RawObject, ...]
    allowed: int
    cpu_kinds: tuple[tuple[int, int, dict[str, str]], ...]
    numa_distances: tuple[tuple[int, ...], tuple[int, ...]] | None
    """NUMA OS indices and the row-major matrix between them."""


@cache
def _library() -> tuple[Any, Any]:
    """The cffi object and the opened library; TopologyError where there is no hwloc 2.x."""
    from cpusets._hwloc_abi import ffi

    try:
        lib: Any = ffi.dlopen(SONAME)
    except OSError as error:
        raise TopologyError(
            f"The hardware cannot be described: {SONAME} (hwloc 2.x) cannot be opened ({error}).",
            "Install hwloc 2 (Debian: libhwloc15); hwloc 3 and hwloc 1 are not supported.",
        ) from error
    version = lib.hwloc_get_api_version()
    if version >> 16 != MAJOR:
        raise TopologyError(
            f"{SONAME} is hwloc {version >> 16}.{version >> 8 & 0xFF}, whose structures are "
            "not known here.",
            "Install hwloc 2 (Debian: libhwloc15).",
        )
    return ffi, lib


def library_version() -> str:
    """The version of the loaded libhwloc's interface, such as `2.9`."""
    version = _library()[1].hwloc_get_api_version()
    return f"{version >> 16}.{version >> 8 & 0xFF}"


@contextmanager
def _initialised(devices: bool) -> Iterator[tuple[Any, Any, Any]]:
    """A topology between hwloc_topology_init and _load; destroyed at the end."""
    ffi, lib = _library()
    pointer = ffi.new("hwloc_topology_t *")
    if lib.hwloc_topology_init(pointer) != 0:
        raise TopologyError("hwloc cannot make a topology: out of memory.")
    topology = pointer[0]
    try:
        lib.hwloc_topology_set_flags(topology, _FLAG_INCLUDE_DISALLOWED)
        if devices:
            lib.hwloc_topology_set_io_types_filter(topology, _FILTER_KEEP_IMPORTANT)
        yield ffi, lib, topology
    finally:
        lib.hwloc_topology_destroy(topology)


def read_system(*, devices: bool, pid: int | None) -> RawTopology:
    """This machine; with `pid`, as that process's cgroup allows it."""
    with _initialised(devices) as (ffi, lib, topology):
        # OpenCL and GL discovery start drivers and X clients: slow, and known to hang.
        for component in (b"opencl", b"gl"):
            lib.hwloc_topology_set_components(topology, _COMPONENT_BLACKLIST, component)
        if os.path.isdir("/sys/devices/system/cpu/cpu0/topology"):
            # The kernel says all; the cpuid backend would hop over every CPU to say it again.
            lib.hwloc_topology_set_components(topology, _COMPONENT_BLACKLIST, b"x86")
        if pid is not None and lib.hwloc_topology_set_pid(topology, pid) != 0:
            raise _failed(ffi, f"hwloc cannot take the view of process {pid}")
        _load(ffi, lib, topology, "hwloc cannot read this machine's topology")
        return _read(ffi, lib, topology)


def read_xml(path: str) -> RawTopology:
    """The machine that an hwloc XML file describes."""
    with _initialised(devices=True) as (ffi, lib, topology):
        wrong = f"{path} is not a topology that hwloc {library_version()} can read"
        if lib.hwloc_topology_set_xml(topology, os.fsencode(path)) != 0:
            raise _failed(ffi, wrong)
        # hwloc says success above and only finds out here that it cannot read the dialect.
        _load(ffi, lib, topology, wrong)
        return _read(ffi, lib, topology)


def read_synthetic(description: str) -> RawTopology:
    """The machine that an hwloc synthetic string describes, such as `pack:2 core:4 pu:2`."""
    with _initialised(devices=False) as (ffi, lib, topology):
        wrong = f"{description!r} is not a synthetic topology"
        if lib.hwloc_topology_set_synthetic(topology, description.encode()) != 0:
            raise _failed(ffi, wrong, "Write it as hwloc does, for example 'pack:2 core:4 pu:2'.")
        _load(ffi, lib, topology, wrong)
        return _read(ffi, lib, topology)


def _load(ffi: Any, lib: Any, topology: Any, wrong: str) -> None:
    if lib.hwloc_topology_load(topology) != 0:
        raise _failed(ffi, wrong)
    if lib.hwloc_topology_abi_check(topology) != 0:
        raise TopologyError(f"{SONAME} and its own topology disagree about their layout.")


def _failed(ffi: Any, wrong: str, hint: str = "") -> TopologyError:
    reason = os.strerror(ffi.errno) if ffi.errno else "no reason given"
    return TopologyError(
        f"{wrong} ({reason}).",
        hint or "Export it again with lstopo of hwloc 2, and check that the file is complete.",
    )


def _read(ffi: Any, lib: Any, topology: Any) -> RawTopology:
    objects: list[RawObject] = []
    depths = [*range(lib.hwloc_topology_get_depth(topology)), _DEPTH_NUMANODE, _DEPTH_OSDEV]
    for depth in depths:
        obj = lib.hwloc_get_obj_by_depth(topology, depth, 0)
        while obj:
            objects.append(_copy(ffi, lib, obj))
            obj = obj.next_cousin
    return RawTopology(
        objects=tuple(objects),
        allowed=_bits(lib, lib.hwloc_topology_get_allowed_cpuset(topology)),
        cpu_kinds=_cpu_kinds(ffi, lib, topology),
        numa_distances=_numa_distances(ffi, lib, topology),
    )


def _copy(ffi: Any, lib: Any, obj: Any) -> RawObject:
    kind = TYPE_NAMES[obj.type]
    holder, pci = obj, None
    while not holder.cpuset:  # I/O objects have no sets; their first ancestor with one is local
        if holder.type == _PCI:
            pci = pci or _bus_id(holder.attr.pcidev)
        holder = holder.parent
    is_device = obj.type == _OSDEV
    return RawObject(
        type=kind,
        logical_index=obj.logical_index,
        os_index=None if obj.os_index == _UNKNOWN_INDEX else obj.os_index,
        cpus=_bits(lib, holder.cpuset),
        nodes=_bits(lib, holder.nodeset),
        name=_text(ffi, obj.name),
        subtype=_text(ffi, obj.subtype),
        memory=obj.attr.numanode.local_memory if kind == "numa" and obj.attr else 0,
        pci=pci,
        osdev_kind=_osdev_kind(obj.attr.osdev.type) if is_device else None,
        infos=_infos(ffi, obj.infos, obj.infos_count) if is_device or kind == "machine" else {},
    )


def _osdev_kind(value: int) -> str:
    return OSDEV_KINDS[value] if value < len(OSDEV_KINDS) else "other"


def _bus_id(pci: Any) -> str:
    return f"{pci.domain:04x}:{pci.bus:02x}:{pci.dev:02x}.{pci.func:x}"


def _bits(lib: Any, bitmap: Any) -> int:
    last = lib.hwloc_bitmap_last(bitmap) if bitmap else -1
    bits = 0
    for i in range(last // 64 + 1 if last >= 0 else 0):
        bits |= lib.hwloc_bitmap_to_ith_ulong(bitmap, i) << 64 * i
    return bits


def _text(ffi: Any, pointer: Any) -> str | None:
    return ffi.string(pointer).decode(errors="replace") if pointer else None


def _infos(ffi: Any, infos: Any, count: int) -> dict[str, str]:
    return {_text(ffi, infos[i].name) or "": _text(ffi, infos[i].value) or "" for i in range(count)}


def _cpu_kinds(ffi: Any, lib: Any, topology: Any) -> tuple[tuple[int, int, dict[str, str]], ...]:
    """(PUs, efficiency, infos) of each kind of core, slowest first; empty where all are alike."""
    kinds = []
    bitmap = lib.hwloc_bitmap_alloc()
    efficiency, count = ffi.new("int *"), ffi.new("unsigned *")
    infos = ffi.new("struct hwloc_info_s **")
    try:
        for i in range(max(0, lib.hwloc_cpukinds_get_nr(topology, 0))):
            if lib.hwloc_cpukinds_get_info(topology, i, bitmap, efficiency, count, infos, 0) == 0:
                kinds.append((_bits(lib, bitmap), efficiency[0], _infos(ffi, infos[0], count[0])))
    finally:
        lib.hwloc_bitmap_free(bitmap)
    return tuple(kinds)


def _numa_distances(
    ffi: Any, lib: Any, topology: Any
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The kernel's NUMA latency matrix, if it has one."""
    number, found = ffi.new("unsigned *", 1), ffi.new("struct hwloc_distances_s *[1]")
    kind = _DISTANCES_FROM_OS | _DISTANCES_MEANS_LATENCY
    failed = lib.hwloc_distances_get_by_depth(topology, _DEPTH_NUMANODE, number, found, kind, 0)
    if failed or number[0] == 0:
        return None
    matrix = found[0]
    try:
        size = matrix.nbobjs
        return (
            tuple(matrix.objs[i].os_index for i in range(size)),
            tuple(matrix.values[i] for i in range(size * size)),
        )
    finally:
        lib.hwloc_distances_release(topology, matrix)
