"""A rank's environment: what the runtime did to one process's, done to another's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shim.container.environment import PER_RANK, rank_environment, without

names = st.sampled_from(
    [
        "A",
        "B",
        "HOME",
        "PATH",
        "LD_LIBRARY_PATH",
        "PWD",
        "TERM",
        "SLURM_PROCID",
        "PMIX_RANK",
        "APPTAINER_BIND",
        "APPTAINERENV_A",
        "SINGULARITYENV_B",
        "BASH_FUNC_f%%",
        "http_proxy",
    ]
)
values = st.sampled_from(["", "0", "1", "/x", "$A"])
environments = st.dictionaries(names, values)


@given(environments, environments, st.booleans())
def test_the_leaders_environment_is_what_the_runtime_made_of_it(
    base: dict[str, str], captured: dict[str, str], clean: bool
) -> None:
    assert rank_environment(base, captured, base, clean=clean) == captured


@given(environments, environments, environments)
def test_a_ranks_own_rank_holds(
    base: dict[str, str], captured: dict[str, str], rank: dict[str, str]
) -> None:
    result = rank_environment(base, captured, {**rank, "SLURM_PROCID": "7"}, clean=False)
    if "SLURM_PROCID" in captured or "SLURM_PROCID" not in base:
        assert result["SLURM_PROCID"] == "7"


BASE = {
    "HOME": "/home/u",
    "PATH": "/usr/bin",
    "USER": "u",
    "SLURM_PROCID": "0",
    "LANG": "de",
    "LD_LIBRARY_PATH": "/host",
    "APPTAINER_BIND": "/data",
    "APPTAINERENV_FOO": "bar",
    "EMPTY": "",
}
CAPTURED = {
    "HOME": "/home/u",
    "PATH": "/image/bin",
    "USER": "u",
    "SLURM_PROCID": "0",
    "LANG": "C",
    "LD_LIBRARY_PATH": "/.singularity.d/libs",
    "FOO": "bar",
    "APPTAINER_NAME": "app.sif",
}


def other(**changes: str) -> dict[str, str]:
    return rank_environment(BASE, CAPTURED, {**BASE, "SLURM_PROCID": "5", **changes}, clean=False)


def test_variables_of_the_image_and_the_runtime_are_the_same_for_all() -> None:
    assert other() == {**CAPTURED, "SLURM_PROCID": "5"}


def test_a_variable_that_only_this_rank_has_is_forwarded() -> None:
    assert other(MINE="x")["MINE"] == "x"


def test_a_variable_that_differs_between_ranks_is_the_ranks_own() -> None:
    assert other(USER="v")["USER"] == "v"


def test_what_the_image_sets_wins_over_the_ranks_own() -> None:
    assert other(LANG="fr")["LANG"] == "C"


def test_what_the_runtime_never_forwards_is_not_forwarded() -> None:
    result = other(APPTAINER_CWD="/y", SINGULARITY_X="y", **{"BASH_FUNC_f%%": "() { :; }"})
    assert result == {**CAPTURED, "SLURM_PROCID": "5"}


def test_paths_of_the_host_stay_outside() -> None:
    result = other(PATH="/other", LD_LIBRARY_PATH="/other", HOME="/other")
    assert result == {**CAPTURED, "SLURM_PROCID": "5"}


def test_an_override_of_this_rank_reaches_it() -> None:
    assert other(APPTAINERENV_FOO="mine")["FOO"] == "mine"
    assert other(APPTAINERENV_NEW="a", SINGULARITYENV_NEW="b")["NEW"] == "a"


def test_an_override_that_needs_a_shell_keeps_the_leaders_value() -> None:
    assert other(APPTAINERENV_FOO="$HOME/x")["FOO"] == "bar"


def test_a_clean_environment_lets_nothing_of_the_rank_in() -> None:
    captured = {"HOME": "/home/u", "PATH": "/image/bin", "LANG": "C", "TERM": "xterm"}
    result = rank_environment(
        {**BASE, "TERM": "xterm"},
        captured,
        {**BASE, "TERM": "vt100", "SLURM_PROCID": "5", "MINE": "x"},
        clean=True,
    )
    assert result == {**captured, "TERM": "vt100"}


def test_the_hosts_pmix_can_be_taken_out() -> None:
    env = {"PMIX_RANK": "0", "PMI_FD": "5", "PM": "x"}
    assert without(env, "PMIX_", "PMI_") == {"PM": "x"}
    assert without(env) == env


def test_ranks_of_every_launcher_are_known() -> None:
    assert {"SLURM_PROCID", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"} <= PER_RANK
