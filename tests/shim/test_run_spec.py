"""The command line of `shim run`, as a value."""

from __future__ import annotations

import pytest

from shim.errors import ShimError
from shim.mapping_words import MappingWords
from shim.run.spec import App, RunSpec, parse_run


def test_one_program_in_a_container() -> None:
    spec = parse_run(["-n", "8", "--threads", "4", "-B", "/data", "app.sif", "./app", "-n", "3"])
    assert spec == RunSpec(
        apps=(App(8, ("-B", "/data", "app.sif", "./app", "-n", "3")),),
        mapping=MappingWords(threads=4),
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
    assert spec.mapping.oversubscribe
    assert RunSpec.from_json(spec.to_json()) == spec


def test_who_sits_where_belongs_to_the_job_and_not_to_one_program() -> None:
    spec = parse_run(
        "-n 1 --map-by numa --cpus-per-rank=2 a.sif x : -n 1 --gpus-per-rank 1/2 --native y".split()
    )
    assert spec.mapping == MappingWords(map_by="numa", cpus_per_rank=2, gpus_per_rank="1/2")
    assert [app.words for app in spec.apps] == [("a.sif", "x"), ("y",)]
    assert spec.ranks == 2


def test_each_program_has_its_partition() -> None:
    line = "--partitions {a: 1} -n 1 --partition a i x : -n 1 --partition=b --native y : -n 1 i z"
    spec = parse_run([*line.replace("{a: 1}", "SHARES").split()])
    assert spec.mapping.partitions == "SHARES"
    assert [app.partition for app in spec.apps] == ["a", "b", None]
    assert RunSpec.from_json(spec.to_json()) == spec


def test_each_program_says_whether_it_is_bound_and_a_list_is_the_jobs() -> None:
    spec = parse_run("-n 1 --cpu-bind none a.sif x : -n 1 --cpu-bind list:0;1 b.sif y".split())
    assert [app.exec_options.bind_cpus for app in spec.apps] == [False, True]
    assert spec.mapping.cpu_bind == "list:0;1"


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
