"""What a rank ends with reaches srun as it would without us."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.conftest import Jobs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SRUN = ["srun", "--mpi=pmix", "-N2", "-n4"]

LOST_CONNECTION = 14
"""With this Open MPI 5 ends a process that has lost its PMIx server or a peer."""


@pytest.fixture(autouse=True)
def clean(nothing_left: Callable[[], None]) -> object:
    yield
    nothing_left()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["init", "barrier", "finalize"], 0),
        (["exit:3@2"], 3),
        (["exit:3@1", "exit:9@3"], 9),
        (["init", "finalize", "exit:4"], 4),
        (["kill:11@1"], 139),
        (["kill:9@3"], 137),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_program_that_ends_by_itself_ends_as_natively(
    steps: Jobs, image4: str, fault: str, words: list[str], code: int
) -> None:
    ours = steps.run([*SRUN, "shim", "exec", image4, fault, *words])
    assert (ours.rc, natively(steps, fault, *words)) == (code, code)
    assert ours.said == []


def natively(steps: Jobs, *words: str) -> int:
    """The exit code without us. Slurm's plugin now and then takes a rank's regular end for the
    loss of a PMIx client, and the others end with 14; then it is asked again."""
    for _ in range(3):
        code = steps.run([*SRUN, *words]).rc
        if code != LOST_CONNECTION:
            break
    return code


@pytest.mark.parametrize("image", ["image4", "image5"])
def test_mpi_abort_ends_all_with_its_code(
    steps: Jobs, fault: str, image: str, request: pytest.FixtureRequest
) -> None:
    words = [fault, "init", "barrier", "abort:7@1", "barrier"]
    ours = steps.run([*SRUN, "shim", "exec", request.getfixturevalue(image), *words])
    assert (ours.rc, natively(steps, *words)) == (7, 7)
    assert ours.said == []
    assert ours.elapsed < 10


@pytest.mark.parametrize(
    ("fate", "code", "how"),
    [
        ("exit:5@3", 5, "Rank 3 ended with exit code 5"),
        ("exit:0@1", 1, "Rank 1 ended with exit code 0"),
        ("kill:9@2", 137, "Rank 2 was killed by signal 9 (Killed)"),
        ("kill:15@0", 143, "Rank 0 was killed by signal 15 (Terminated)"),
    ],
)
def test_a_rank_that_leaves_the_others_waiting_ends_the_job(
    steps: Jobs, image4: str, fault: str, fate: str, code: int, how: str
) -> None:
    ended = steps.run(
        [*SRUN, "shim", "exec", image4, fault, "init", "barrier", fate, "barrier", "finalize"]
    )
    assert ended.rc == code
    assert ended.sentence.startswith(f"{how} between PMIx_Init and PMIx_Finalize")
    assert ended.elapsed < 10


def test_ranks_that_all_forget_to_finalize_need_no_sentence(
    steps: Jobs, image4: str, fault: str
) -> None:
    words = ["init", "barrier", "exit:6"]
    ended = steps.run([*SRUN, "shim", "exec", image4, fault, *words])
    assert (ended.rc, ended.said) == (6, [])


def test_mpi_in_a_child_of_the_rank(steps: Jobs, image4: str, fault: str) -> None:
    words = ["child", "init", "barrier", "finalize", "exit:3@2"]
    ended = steps.run([*SRUN, "shim", "exec", image4, fault, *words])
    assert (ended.rc, ended.said) == (3, [])
