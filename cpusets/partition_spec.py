"""Declared shares of a node for several runtimes: the YAML text and what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cpusets.axes import ALIASES, OBJECTS
from cpusets.cpuset import EMPTY, CpuSet
from cpusets.errors import CpuListError, PlanError

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%\Z")
_LOCATION = re.compile(r"([a-z0-9]+):([0-9,\-]+)\Z")
_KEYS = {"cores", "cpus", "percent", "at", "numa", "smt", "from", "shared"}
_AMOUNTS = ("cores", "cpus", "percent", "at", "numa", "smt")
_HINT = (
    "Write 75%, 4 (cores), rest, inherit, or a mapping with one of cores, cpus, percent, "
    "at (l3:0-1), numa, smt, and optionally from (first, last) and shared."
)


@dataclass(frozen=True, slots=True)
class PartitionSpec:
    """One declared partition.

    `kind` says what `number` or `where` mean: `cores` and `cpus` (hardware threads) by count,
    `percent` of the allocation's cores, `at` objects of kind `level` by logical index, `smt` the
    hardware thread with that number of every core, `rest` whatever is left, `inherit` no CPUs of
    its own: processes keep those of whoever starts them.
    """

    name: str
    kind: str
    number: float = 0
    level: str = ""
    where: CpuSet = EMPTY
    from_last: bool = False
    shared: bool = False


def parse_partitions(text: str) -> tuple[PartitionSpec, ...]:
    """Read the YAML file's text: a mapping `partitions:` of names to shares.

    Raises PlanError naming the entry that is wrong.
    """
    import yaml  # costs 20 ms: only where partitions are declared

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlanError(f"The partitions are not YAML: {error}.", _HINT) from error
    entries = data.get("partitions") if isinstance(data, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise PlanError("The file has no mapping `partitions:`.", _HINT)
    specs = tuple(parse_partition(str(name), value) for name, value in entries.items())
    if sum(spec.kind == "rest" for spec in specs) > 1:
        raise PlanError("Two partitions want the rest.", "Give one of them a size.")
    return specs


def parse_partition(name: str, value: object) -> PartitionSpec:
    """Read one entry, as YAML loaded it. Raises PlanError."""
    if not _NAME.match(name):
        raise PlanError(
            f"{name!r} cannot name a partition.",
            "Use up to 32 lower-case letters, digits, - and _, a letter first.",
        )
    if isinstance(value, Mapping):
        return _from_mapping(name, value)
    word = str(value).strip().lower()
    if word in ("rest", "inherit"):
        return PartitionSpec(name, word, shared=word == "inherit")
    if match := _PERCENT.match(word):
        return _sized(name, "percent", float(match[1]))
    if isinstance(value, int) and not isinstance(value, bool):
        return _sized(name, "cores", value)
    raise PlanError(f"Partition {name}: {value!r} is no share.", _HINT)


def _from_mapping(name: str, value: Mapping[Any, Any]) -> PartitionSpec:
    unknown = sorted(map(str, set(value) - _KEYS))
    amounts = [key for key in _AMOUNTS if key in value]
    if unknown or len(amounts) != 1:
        wrong = f"unknown {', '.join(unknown)}" if unknown else "not exactly one size"
        raise PlanError(f"Partition {name} has {wrong}.", _HINT)
    end = value.get("from", "first")
    shared = value.get("shared", False)
    if end not in ("first", "last") or not isinstance(shared, bool):
        raise PlanError(f"Partition {name}: from or shared has no known value.", _HINT)
    kind, amount = amounts[0], value[amounts[0]]
    if kind in ("at", "numa"):
        location = f"numa:{amount}" if kind == "numa" else str(amount)
        return _located(name, location, shared=shared)
    text = str(amount).strip().removesuffix("%") if kind == "percent" else str(amount)
    try:
        number = float(text) if kind == "percent" else int(text)
    except ValueError as error:
        raise PlanError(f"Partition {name}: {amount!r} is no number.", _HINT) from error
    return _sized(name, kind, number, from_last=end == "last", shared=shared)


def _sized(
    name: str, kind: str, number: float, *, from_last: bool = False, shared: bool = False
) -> PartitionSpec:
    least = 0 if kind == "smt" else 1e-9
    if number < least or (kind == "percent" and number > 100):
        raise PlanError(f"Partition {name}: {number:g} {kind} is impossible.", _HINT)
    return PartitionSpec(name, kind, number, from_last=from_last, shared=shared)


def _located(name: str, location: str, *, shared: bool) -> PartitionSpec:
    match = _LOCATION.match(location.lower())
    level = ALIASES.get(match[1], match[1]) if match else ""
    if match is None or level not in OBJECTS:
        raise PlanError(
            f"Partition {name}: {location!r} is no place in a machine.",
            f"Write OBJECT:NUMBERS, for example l3:0-1, with one of {', '.join(OBJECTS)}.",
        )
    try:
        where = CpuSet.parse(match[2])
    except CpuListError as error:
        raise PlanError(f"Partition {name}: {error.message}", error.hint) from error
    return PartitionSpec(name, "at", level=level, where=where, shared=shared)
