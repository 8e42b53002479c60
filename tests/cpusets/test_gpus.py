"""GPUs: nearest first, by UUID, and never two ranks on one unless asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import chain, combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpusets import (
    CpuSet,
    Device,
    NodePlan,
    NodeRequest,
    PlanError,
    RankPlacement,
    Topology,
    device_conflicts,
    device_environment,
    judge,
    plan_node,
)
from cpusets._hwloc import RawObject
from cpusets.axes import MapBy
from cpusets.devices import devices_of
from tests.cpusets.strategies import many

# 2 packages × 2 NUMA nodes × 2 cores × 2 PUs; NUMA nodes 0–3 have cuda1, cuda0, cuda3, cuda2,
# as on machines whose GPU numbers do not follow the NUMA nodes; mlx5_0 at NUMA node 2.
MACHINE = Topology.from_xml(Path(__file__).with_name("fixtures") / "four-gpus.xml")


def planned(ranks: int, gpus: Fraction | int, **request: object) -> NodePlan:
    base = NodeRequest(tuple(range(ranks)), gpus_per_rank=gpus)
    return plan_node(MACHINE, MACHINE.complete, replace(base, **request))  # type: ignore[arg-type]


def names(plan: NodePlan) -> list[str]:
    return ["+".join(gpu.name for gpu in p.gpus) for p in plan.placements]


def test_devices_are_read_with_their_identity_and_place() -> None:
    gpus = {device.name: device for device in MACHINE.devices if device.kind == "gpu"}
    assert gpus["cuda0"].pci == "0000:20:00.0"
    assert gpus["cuda0"].uuid == "GPU-00000000-0000-0000-0000-000000000000"
    assert gpus["cuda0"].names == ("cuda0", "nvml0")
    assert gpus["cuda0"].cpus == CpuSet.parse("4-7")
    (nic,) = (device for device in MACHINE.devices if device.kind == "nic")
    assert nic.fabric == ("mlx5_0",)
    assert nic.numa == CpuSet.parse("2")


def test_a_rank_per_gpu_sits_next_to_its_gpu_whatever_its_number() -> None:
    plan = planned(4, 1)
    assert names(plan) == ["cuda1", "cuda0", "cuda3", "cuda2"]
    assert [str(p.cpus) for p in plan.placements] == ["0-3", "4-7", "8-11", "12-15"]


def test_fewer_ranks_are_spread_over_the_gpus() -> None:
    assert names(planned(2, 1)) == ["cuda1", "cuda3"]  # one in each package
    assert names(planned(2, 2)) == ["cuda1+cuda0", "cuda3+cuda2"]


def test_ranks_that_share_a_gpu_divide_its_cores() -> None:
    plan = planned(8, Fraction(1, 2))
    assert names(plan) == ["cuda1", "cuda1", "cuda0", "cuda0", "cuda3", "cuda3", "cuda2", "cuda2"]
    assert [str(p.cpus) for p in plan.placements[:2]] == ["0-1", "2-3"]


def test_settled_ranks_get_the_nearest_gpus() -> None:
    masks = {0: CpuSet.parse("12-13"), 1: CpuSet.parse("0-1")}
    plan = planned(2, 1, explicit=masks)
    assert names(plan) == ["cuda2", "cuda1"]
    crowded = planned(2, 1, explicit={0: CpuSet.parse("0-1"), 1: CpuSet.parse("2-3")})
    assert names(crowded) == ["cuda1", "cuda0"]  # the second takes the other of its package


def test_the_nearest_numa_node_comes_first_when_mapping_by_distance() -> None:
    plan = planned(3, 0, map_by=MapBy("dist", device="mlx5_0"), cpus_per_rank=1)
    assert [str(p.cpus) for p in plan.placements] == ["8-9", "10-11", "12-13"]
    with pytest.raises(PlanError, match="no device 'mlx5_7'") as caught:
        planned(3, 0, map_by=MapBy("dist", device="mlx5_7"))
    assert "cuda0" in caught.value.hint


def test_too_few_gpus_are_refused_with_what_would_fit() -> None:
    with pytest.raises(PlanError, match="5 ranks with 1 GPUs each need 5 GPUs; the node has 4"):
        planned(5, 1)
    with pytest.raises(PlanError, match="impossible"):
        planned(1, Fraction(2, 3))


def test_a_machine_without_compute_drivers_gives_no_gpus() -> None:
    bare = Topology.from_synthetic("core:2 pu:1")
    with pytest.raises(PlanError, match="no GPU with a compute driver") as caught:
        plan_node(bare, bare.complete, NodeRequest((0,), gpus_per_rank=1))
    assert "driver" in caught.value.hint


@many
@given(
    st.integers(1, 9),
    st.sampled_from([Fraction(1, 3), Fraction(1, 2), Fraction(1), Fraction(2), Fraction(4)]),
    st.sets(st.integers(0, 15), min_size=1),
    st.sampled_from([None, MapBy("core"), MapBy("numa"), MapBy("slot")]),
    st.none() | st.integers(1, 3),
    st.booleans(),
)
def test_i15_gpus_are_exclusive_unless_shared_and_local_if_they_can_be(
    ranks: int,
    per: Fraction,
    cpus: set[int],
    map_by: MapBy | None,
    cores: int | None,
    oversubscribe: bool,
) -> None:
    request = NodeRequest(
        tuple(range(ranks)),
        gpus_per_rank=per,
        map_by=map_by,
        cpus_per_rank=cores,
        oversubscribe=oversubscribe,
    )
    usable = CpuSet.of(cpus)
    try:
        plan = plan_node(MACHINE, usable, request)
    except PlanError:
        assert ranks * per > 4 or map_by or cores or not oversubscribe
        return
    users: Counter[Device] = Counter(chain.from_iterable(p.gpus for p in plan.placements))
    assert all(len(p.gpus) == max(1, per) for p in plan.placements)
    assert max(users.values()) <= (per.denominator if per < 1 else 1)
    masks = [p.cpus for p in plan.placements]
    if not oversubscribe:
        assert all(a.isdisjoint(b) for a, b in combinations(masks, 2))
    for p in plan.placements:
        local = any(gpu.cpus & usable for gpu in p.gpus)
        if map_by is None and local:
            assert any(gpu.cpus & p.cpus for gpu in p.gpus)


def test_visible_devices_are_uuids() -> None:
    placement = planned(2, 2).placements[0]
    assert device_environment(placement, {}) == {
        "CUDA_VISIBLE_DEVICES": "GPU-00000000-0000-0000-0000-000000000001,"
        "GPU-00000000-0000-0000-0000-000000000000"
    }


def test_the_users_devices_stay_and_are_reported_but_the_launchers_are_replaced() -> None:
    placement = planned(4, 1).placements[0]
    users = {"CUDA_VISIBLE_DEVICES": "3"}
    assert device_environment(placement, users) == {}
    assert "CUDA_VISIBLE_DEVICES=3 is kept" in device_conflicts(placement, users)[0]
    launchers = ("CUDA_VISIBLE_DEVICES",)
    assert "CUDA_VISIBLE_DEVICES" in device_environment(placement, users, from_launcher=launchers)
    assert device_conflicts(placement, users, from_launcher=launchers) == ()


def osdev(name: str, kind: str, pci: str, **infos: str) -> RawObject:
    return RawObject("osdev", 0, None, 0b11, 0b1, name, None, 0, pci, kind, infos)


def test_one_card_with_several_devices_is_several_gpus() -> None:
    found = devices_of(
        [
            osdev("rsmi0", "gpu", "0000:01:00.0", AMDUUID="a0"),
            osdev("rsmi1", "gpu", "0000:01:00.0", AMDUUID="a1"),
            osdev("card0", "gpu", "0000:01:00.0"),
        ]
    )
    assert [(device.name, device.uuid) for device in found] == [("rsmi0", "a0"), ("rsmi1", "a1")]


def test_a_display_adapter_is_no_gpu() -> None:
    assert devices_of([osdev("card0", "gpu", "0000:03:00.0")]) == ()


def test_vendors_that_know_numbers_get_numbers_and_second_filters_are_named() -> None:
    intel, amd = devices_of(
        [
            osdev("ze1", "coproc", "0000:01:00.0", LevelZeroUUID="x"),
            osdev("rsmi0", "gpu", "0000:02:00.0", AMDUUID="a0"),
        ]
    )
    placement = RankPlacement(0, CpuSet.parse("0"), 1, (), (intel, amd))
    assert device_environment(placement, {}) == {
        "ROCR_VISIBLE_DEVICES": "a0",
        "ZE_AFFINITY_MASK": "1",
    }
    (sentence,) = device_conflicts(placement, {"HIP_VISIBLE_DEVICES": "0"})
    assert "second time" in sentence


def test_the_nearest_of_several_fabric_ports_is_hinted() -> None:
    near, far = devices_of(
        [
            osdev("mlx5_0", "openfabrics", "0000:01:00.0"),
            replace(osdev("mlx5_1", "openfabrics", "0000:02:00.0"), cpus=0b1100, nodes=0b10),
        ]
    )
    two = replace(Topology.from_synthetic("core:4 pu:1"), devices=(near, far))
    placement = RankPlacement(0, CpuSet.parse("2"), 1, ())
    assert device_environment(placement, {"NCCL_IB_HCA": "mlx5"}, two) == {
        "UCX_NET_DEVICES": "mlx5_1:1"
    }
    assert device_environment(placement, {}, MACHINE) == {}


def test_a_remote_gpu_is_named_in_the_verdict() -> None:
    gpu = planned(4, 1).placements[3].gpus[0]
    assert str(judge(CpuSet.parse("0"), CpuSet.parse("0"), gpus=[gpu])) == "GPU cuda2 is remote"
