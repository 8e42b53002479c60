"""Masks that a user writes: `map_cpu:`, `mask_cpu:` and `list:`, and which numbers they hold."""

from __future__ import annotations

from collections.abc import Sequence

from cpusets.cpuset import CpuSet, union
from cpusets.errors import CpuListError, PlanError
from cpusets.topology import Topology

_FORMS = (
    "Write map_cpu:0,4,8 (one CPU per rank), mask_cpu:0xf,0xf0, list:0-3;4-7, "
    "or cores:0-1;2-3 for logical cores."
)


def parse_cpu_bind(text: str, ranks: Sequence[int], topology: Topology) -> dict[int, CpuSet]:
    """Read an explicit binding for the ranks of a node, in order.

    `map_cpu:`, `mask_cpu:` (Slurm's forms) and `list:` hold physical numbers, those of the
    operating system; `cores:` holds logical core numbers, counted in the machine's order.
    Raises PlanError where the text is wrong or has not one entry per rank.
    """
    form, _, body = text.partition(":")
    try:
        masks = _masks(form.strip().lower(), body, topology)
    except CpuListError as error:
        raise PlanError(f"{text!r} cannot be read: {error.message}", _FORMS) from error
    if len(masks) != len(ranks):
        raise PlanError(
            f"{text!r} has {len(masks)} entries for {len(ranks)} ranks on this node.",
            "Give one entry for each rank of the node.",
        )
    return dict(zip(ranks, masks, strict=True))


def _masks(form: str, body: str, topology: Topology) -> list[CpuSet]:
    if form == "mask_cpu":
        return [CpuSet.parse_mask(part) for part in body.split(",")]
    if form == "map_cpu":
        return [CpuSet.parse(part) for part in body.split(",")]
    if form == "list":
        return [CpuSet.parse(part) for part in body.split(";")]
    if form == "cores":
        return [logical_cores(topology, CpuSet.parse(part)) for part in body.split(";")]
    raise PlanError(f"{form!r} is no form of an explicit binding.", _FORMS)


def logical_cores(topology: Topology, numbers: CpuSet) -> CpuSet:
    """The CPUs of cores by logical number. Raises PlanError for one that does not exist."""
    cores = topology.cores
    if numbers and numbers.last() >= len(cores):
        raise PlanError(
            f"There is no logical core {numbers.last()} on this node.",
            f"Its logical cores are 0-{len(cores) - 1}.",
        )
    return union(cores[number].cpus for number in numbers)


def core_numbers(topology: Topology, cpus: CpuSet) -> CpuSet | None:
    """The logical cores that make up `cpus`; None where some core is not whole."""
    cores = [core for core in topology.cores if core.cpus & cpus]
    if any(not core.cpus <= cpus for core in cores):
        return None
    return CpuSet.of(core.logical_index for core in cores)
