"""A control group for each share, where this step's may have some below it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from cpusets.cgroups import CpusetGroup, own_group
from cpusets.errors import BindingError
from cpusets.partitions import PartitionTable

log = logging.getLogger(__name__)


def make_groups(table: PartitionTable, key: str) -> dict[str, CpusetGroup]:
    """By name of the share; empty where the step's group is not delegated to this user, which
    leaves affinity masks. Shares of one node that run at the same time differ in *key*."""
    group = own_group()
    if group is None or not group.delegated():
        return {}
    made: dict[str, CpusetGroup] = {}
    try:
        for share in table.partitions:
            if not share.inherits:
                made[share.name] = group.child(f"shim-{key}-{share.name}", share.cpus)
    except BindingError as error:
        log.info("no control groups for partitions: %s", error.message)
        remove_groups(made)
        return {}
    return made


def remove_groups(groups: Mapping[str, CpusetGroup]) -> None:
    """Delete them after their processes."""
    for group in groups.values():
        try:
            group.remove()
        except BindingError as error:
            log.info("%s", error.message)
