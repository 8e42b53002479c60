"""The options of `shim exec`: one table, read alike by C and by Python."""

from __future__ import annotations

import pytest

from shim.errors import ShimError
from shim.mapping_words import MappingWords
from shim.option_table import TABLE, Option, Use, Value
from shim.options import ExecOptions, help_text, parse_exec
from tests.frontend.desk import Desk


def parse(line: str) -> ExecOptions:
    return parse_exec(line.split())


def test_options_end_at_the_image() -> None:
    options = parse("--nv -B /a:/b app.sif prog --nv -B x")
    assert options.runtime_arguments == ("--nv", "--bind=/a:/b")
    assert options.image == "app.sif"
    assert options.command == ("prog", "--nv", "-B", "x")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--bind /a i c", ("--bind=/a",)),
        ("--bind=/a,/b i c", ("--bind=/a,/b",)),
        ("-B/a i c", ("--bind=/a",)),
        ("-B=/a i c", ("--bind=/a",)),
        ("-ec i c", ("--cleanenv", "--contain")),
        ("-eB /a i c", ("--cleanenv", "--bind=/a")),
        ("--env A=b=c i c", ("--env=A=b=c",)),
        ("--nv=false i c", ("--nv=false",)),
        ("-B /a -B /b i c", ("--bind=/a", "--bind=/b")),
        ("-- i c", ()),
    ],
)
def test_all_ways_of_writing_an_option(line: str, expected: tuple[str, ...]) -> None:
    assert parse(line).runtime_arguments == expected


def test_our_own_options_do_not_reach_the_runtime() -> None:
    options = parse(
        "--threads 4 --cpu-bind=none --report-bindings=out.json --pmix-mode launcher "
        "--runtime /opt/singularity --start-timeout 7 -v --nv i c"
    )
    assert options == ExecOptions(
        runtime_arguments=("--nv",),
        image="i",
        command=("c",),
        mapping=MappingWords(threads=4),
        bind_cpus=False,
        report_bindings="out.json",
        pmix_mode="launcher",
        runtime="/opt/singularity",
        start_timeout=7.0,
        verbose=True,
    )


def test_a_report_without_a_file_goes_to_stderr() -> None:
    assert parse("--report-bindings i c").report_bindings == ""
    assert parse("i c").report_bindings is None


def test_has_knows_flags_that_are_switched_off() -> None:
    assert parse("--contain i c").has("contain")
    assert not parse("--contain=false i c").has("contain")
    assert not parse("--containall i c").has("contain")
    assert parse("--pwd /x i c").has("pwd")


MISTAKES = [
    "--bogus app.sif prog",
    "-Z app.sif prog",
    "--bind",
    "-B",
    "--nv",
    "",
    "--sharens app.sif prog",
    "--net app.sif prog",
    "--network=none app.sif prog",
    "-n app.sif prog",
    "--cpus 2 app.sif prog",
    "--start-timeout x app.sif prog",
    "--start-timeout 0 app.sif prog",
]


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_refused_in_the_same_words_by_both_readers(line: str, desk: Desk) -> None:
    with pytest.raises(ShimError) as error:
        parse(line)
    seen = desk.run("exec", *line.split())
    assert seen.returncode == error.value.exit_code == 125
    assert seen.stderr == f"shim: {error.value}\n"


@pytest.mark.parametrize("option", [option for option in TABLE if option.use is Use.REFUSED])
def test_a_refusal_says_why(option: Option, desk: Desk) -> None:
    words = [f"--{option.name}"] + (["x"] if option.value is Value.REQUIRED else [])
    seen = desk.run("exec", *words, "app.sif", "prog")
    assert seen.returncode == 125
    assert seen.stderr == f"shim: Option --{option.name} is refused: {option.reason}.\n"


def test_a_network_of_its_own_is_for_programs_without_pmix() -> None:
    assert parse("--no-pmix --net --network none i c").runtime_arguments == (
        "--net",
        "--network=none",
    )


def test_no_two_options_share_a_name_or_a_letter() -> None:
    names = [option.name for option in TABLE]
    letters = [option.letter for option in TABLE if option.letter]
    assert len(set(names)) == len(names)
    assert len(set(letters)) == len(letters)


def test_the_help_names_every_option() -> None:
    text = help_text()
    assert all(f"--{option.name}" in text for option in TABLE)


def test_help_is_pythons_business(desk: Desk) -> None:
    desk.python.write_text('#!/bin/sh\necho "$@"\n')
    assert desk.run("exec", "--help").stdout == "-E -P -m shim exec --help\n"
    assert desk.run("map", "-n", "4").stdout == "-E -P -m shim map -n 4\n"
    assert desk.run().stdout == "-E -P -m shim\n"


def test_a_missing_interpreter_is_named(desk: Desk) -> None:
    env = desk.environment(SHIM_PYTHON="/not/here/python3")
    seen = desk.run("map", env=env)
    assert seen.returncode == 125
    assert "Cannot start /not/here/python3" in seen.stderr
    assert "SHIM_PYTHON" in seen.stderr
