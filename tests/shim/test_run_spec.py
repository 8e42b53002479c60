"""The command line of `shim run`, as a value."""

from __future__ import annotations

import pytest

from shim.errors import ShimError
from shim.run.spec import App, RunSpec, parse_run


def test_one_program_in_a_container() -> None:
    spec = parse_run(["-n", "8", "--threads", "4", "-B", "/data", "app.sif", "./app", "-n", "3"])
    assert spec == RunSpec(
        apps=(App(8, ("-B", "/data", "app.sif", "./app", "-n", "3")),), threads=4
    )
    assert spec.apps[0].command == ("./app", "-n", "3")
    assert spec.apps[0].before_command == ("-B", "/data", "app.sif")


def test_programs_separated_by_a_colon() -> None:
    spec = parse_run("-n3 --ppn=2 app.sif solve : -n 1 --native ./watch -v".split())
    assert spec.apps == (
        App(3, ("app.sif", "solve")),
        App(1, ("./watch", "-v"), native=True),
    )
    assert spec.per_node == 2


def test_it_reaches_the_agents_unchanged() -> None:
    spec = parse_run(
        "-n 2 --oversubscribe --report-bindings=b.json app.sif a : -n 1 --native b".split()
    )
    assert spec.report_bindings == "b.json"
    assert RunSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("app.sif", "No program"),
        ("-n", "needs a value"),
        ("-n 0 app.sif a", "above zero"),
        ("--threads x app.sif a", "above zero"),
        ("--native", "No program"),
        ("--nv --native ./a", "--native"),
        ("app.sif a : -n 1 --native b", "no number of ranks"),
        ("-n 1 app.sif a :", "No image|No program"),
        ("--sharens app.sif a", "refused"),
        ("--no-such app.sif a", "not known"),
    ],
)
def test_what_is_wrong_is_said(words: str, sentence: str) -> None:
    with pytest.raises(ShimError, match=sentence):
        parse_run(words.split())
