"""The hardware of a node, who sits where on it, and whether that came true.

    topology = Topology.from_system()
    plan = plan_node(topology, get_affinity(), NodeRequest(ranks=(0, 1, 2, 3)))
    for placement in plan.placements:
        print(placement.rank, placement.cpus, openmp_environment(placement, os.environ))

CPUs are always numbered as the operating system does (physical indices) unless it is said that
a number is logical, that is, counted in the machine's order.
"""

from cpusets.binding import Bound, get_affinity, set_affinity, set_process_affinity
from cpusets.cpuset import CpuSet
from cpusets.device_env import device_conflicts, device_environment
from cpusets.devices import Device
from cpusets.errors import (
    BindingError,
    CpuListError,
    CpusetsError,
    PlanError,
    ReportError,
    TopologyError,
)
from cpusets.mempolicy import MemoryPolicy, Mode
from cpusets.openmp import format_places, openmp_conflicts, openmp_environment
from cpusets.plan import NodePlan, RankPlacement, plan_node
from cpusets.report import RankReport, from_json, render_table, to_json
from cpusets.request import NodeRequest
from cpusets.topology import CpuKind, CpuObject, NumaNode, Topology
from cpusets.verdict import Verdict, judge

__all__ = [
    "BindingError",
    "Bound",
    "CpuKind",
    "CpuListError",
    "CpuObject",
    "CpuSet",
    "CpusetsError",
    "Device",
    "MemoryPolicy",
    "Mode",
    "NodePlan",
    "NodeRequest",
    "NumaNode",
    "PlanError",
    "RankPlacement",
    "RankReport",
    "ReportError",
    "Topology",
    "TopologyError",
    "Verdict",
    "device_conflicts",
    "device_environment",
    "format_places",
    "from_json",
    "get_affinity",
    "judge",
    "openmp_conflicts",
    "openmp_environment",
    "plan_node",
    "render_table",
    "set_affinity",
    "set_process_affinity",
    "to_json",
]
