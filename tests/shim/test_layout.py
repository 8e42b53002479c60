"""Who runs what, where."""

from __future__ import annotations

from pmix_server import NodeRanks
from shim.layout import layout_of_run, layout_of_step
from shim.run.environment import task_environment
from shim.run.spec import parse_run

NODES = ("n1", "n2")
NUMBERS = ((0, 1), (2, 3))


def test_a_step_keeps_the_launchers_ranks() -> None:
    nodes = (NodeRanks("n1", (0, 1)), NodeRanks("n2", (2, 3)))
    layout = layout_of_step(nodes, rank=2)
    assert (layout.local, layout.here.ranks, layout.size) == (1, (2, 3), 4)


def test_programs_take_their_ranks_in_order() -> None:
    layout = layout_of_run(
        parse_run("-n 3 a.sif x : -n 1 --native y".split()), NODES, NUMBERS, local=1
    )
    assert [node.ranks for node in layout.nodes] == [(0, 1), (2, 3)]
    assert [layout.app(rank).command for rank in range(4)] == [("x",), ("x",), ("x",), ("y",)]


def test_a_rank_sees_the_variables_that_srun_would_set() -> None:
    layout = layout_of_run(parse_run("-n 3 a.sif x".split()), NODES, ((0, 1), (2,)), local=0)
    seen = task_environment(layout, 1, {"SLURM_JOB_ID": "7"})
    assert seen["SLURM_PROCID"] == "1"
    assert seen["SLURM_LOCALID"] == "1"
    assert seen["SLURM_NTASKS"] == "3"
    assert seen["SLURM_STEP_TASKS_PER_NODE"] == "2,1"
    assert task_environment(layout, 1, {}) == {}
