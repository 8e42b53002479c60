"""Reading the options of `shim exec`, by the table that the C front-end reads them by.

`python -m shim.options --header FILE` writes that table, and the constants of the wire between
front-end and agent, as C. Standard library only: it runs while the package is being built.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shim.errors import ShimError
from shim.mapping_words import AS_USUAL, MappingWords, binds_cpus, choice, count, mapping_words
from shim.option_table import (
    OWN_OPTIONS,
    REFUSED_OPTIONS,
    RUNTIME_OPTIONS,
    TABLE,
    Option,
    Use,
    Value,
)

__all__ = ["TABLE", "ExecOptions", "Option", "Value", "help_text", "parse_exec"]

PMIX_MODES = ("auto", "isolated", "launcher", "agent", "none")


@dataclass(frozen=True)
class ExecOptions:
    """What stands before the command of one `shim exec`, and the command."""

    runtime_arguments: tuple[str, ...]
    """Options for the runtime, each one word: `--bind=/a:/b`, `--nv`."""
    image: str
    command: tuple[str, ...]
    mapping: MappingWords = AS_USUAL
    bind_cpus: bool = True
    partition: str | None = None
    report_bindings: str | None = None
    """None: no report; "": to stderr; else a file."""
    no_pmix: bool = False
    pmix_mode: str = "auto"
    runtime: str | None = None
    start_timeout: float = 120.0
    verbose: bool = False

    def has(self, name: str) -> bool:
        """Whether the runtime's option `--name` was given (a flag: and not as `=false`)."""
        wanted = f"--{name}"
        return any(
            word == wanted or (word.startswith(wanted + "=") and not word.endswith("=false"))
            for word in self.runtime_arguments
        )


def parse_exec(words: Sequence[str]) -> ExecOptions:
    """Read `[OPTIONS] IMAGE [COMMAND...]` as the C front-end does.

    Raises:
        ShimError: an unknown or refused option, a missing or bad value, no image.
    """
    given: list[tuple[Option, str | None]] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            given.append(_long(word[2:], rest))
        else:
            given.extend(_short(word[1:], rest))
    if not rest:
        raise ShimError("No image was given.", "Usage: shim exec [OPTIONS] IMAGE COMMAND [ARG...].")
    _refuse(given)
    runtime = tuple(
        _one_word(option, value) for option, value in given if option.use is not Use.OWN
    )
    own = {option.name: value for option, value in given if option.use is Use.OWN}
    return _with_own(runtime, rest[0], tuple(rest[1:]), own)


def _long(word: str, rest: list[str]) -> tuple[Option, str | None]:
    name, equals, value = word.partition("=")
    option = next((known for known in TABLE if known.name == name), None)
    if option is None:
        raise _unknown(f"--{name}")
    if equals:
        return option, value
    return option, _next_value(option, rest)


def _short(letters: str, rest: list[str]) -> Iterable[tuple[Option, str | None]]:
    while letters:
        letter, letters = letters[0], letters[1:]
        option = next((known for known in TABLE if known.letter == letter), None)
        if option is None:
            raise _unknown(f"-{letter}")
        if option.value is Value.REQUIRED and letters:
            yield option, letters.removeprefix("=")
            return
        yield option, _next_value(option, rest)


def _next_value(option: Option, rest: list[str]) -> str | None:
    if option.value is not Value.REQUIRED:
        return None
    if not rest:
        raise ShimError(f"Option --{option.name} needs a value.", "See `shim exec --help`.")
    return rest.pop(0)


def _unknown(word: str) -> ShimError:
    return ShimError(
        f"Option {word} is not known to `shim exec`.",
        "See `shim exec --help`; put options of the program after the image and the program.",
    )


def _refuse(given: Sequence[tuple[Option, str | None]]) -> None:
    no_pmix = any(option.name == "no-pmix" for option, _ in given)
    for option, _ in given:
        if option.use is Use.REFUSED or (option.use is Use.NETWORK and not no_pmix):
            raise ShimError(f"Option --{option.name} is refused: {option.reason}.")


def _one_word(option: Option, value: str | None) -> str:
    return f"--{option.name}" if value is None else f"--{option.name}={value}"


def _with_own(
    runtime: tuple[str, ...], image: str, command: tuple[str, ...], own: dict[str, str | None]
) -> ExecOptions:
    report = own.get("report-bindings") or ""
    return ExecOptions(
        runtime_arguments=runtime,
        image=image,
        command=command,
        mapping=mapping_words(own),
        bind_cpus=binds_cpus(own),
        partition=own.get("partition"),
        report_bindings=report if "report-bindings" in own else None,
        no_pmix="no-pmix" in own,
        pmix_mode=choice(own, "pmix-mode", PMIX_MODES),
        runtime=own.get("runtime"),
        start_timeout=float(count(own, "start-timeout") or ExecOptions.start_timeout),
        verbose="verbose" in own,
    )


def help_text() -> str:
    """What `shim exec --help` prints."""
    parts = ["Usage: shim exec [OPTIONS] IMAGE COMMAND [ARG...]", ""]
    parts += ["Options of shim:", *map(_help_line, OWN_OPTIONS), ""]
    parts += ["Options of the container runtime:", *map(_help_line, RUNTIME_OPTIONS), ""]
    parts += ["Refused:", *map(_help_line, REFUSED_OPTIONS)]
    return "\n".join(parts) + "\n"


def _help_line(option: Option) -> str:
    letter = f"-{option.letter}, " if option.letter else "    "
    value = {Value.NONE: "", Value.REQUIRED: " VALUE", Value.OPTIONAL: "[=FILE]"}[option.value]
    return f"  {letter}--{option.name + value:<26} {option.help}"


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--header":
        sys.exit("usage: python -m shim.options --header FILE")
    from shim._options_header import header

    Path(sys.argv[2]).write_text(header())
