"""What `shim run` is asked to run: the command line as a value, and its way to the agents."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from shim.errors import ShimError
from shim.mapping_words import AS_USUAL, MappingWords, mapping_words
from shim.option_table import MAPPING_OPTIONS
from shim.options import TABLE, ExecOptions, Option, Value, parse_exec

SPEC_VARIABLE = "SHIM_RUN_SPEC"
"""Environment variable that carries the job to the agents, as JSON."""


@dataclass(frozen=True)
class App:
    """One command line of the job: `[-n N] [OPTIONS] IMAGE CMD…` or `[-n N] --native CMD…`."""

    ranks: int | None
    """None: as many as the nodes have slots for (one application only)."""
    words: tuple[str, ...]
    """Options of `shim exec`, image and command as typed; for a native one the command alone."""
    native: bool = False
    partition: str | None = None

    @property
    def command(self) -> tuple[str, ...]:
        return self.words if self.native else self.exec_options.command

    @property
    def exec_options(self) -> ExecOptions:
        """The parsed words of a containerised application."""
        return parse_exec(self.words)

    @property
    def before_command(self) -> tuple[str, ...]:
        """Options and image: what identifies the container that its ranks share."""
        return self.words[: len(self.words) - len(self.command)]


@dataclass(frozen=True)
class RunSpec:
    """The job of one `shim run`."""

    apps: tuple[App, ...]
    per_node: int | None = None
    mapping: MappingWords = AS_USUAL
    rankfile: str | None = None
    """The text of the rank file that *mapping* names: the agents may not see the file."""
    partitions: str | None = None
    """The declaration that *mapping* names, as YAML."""
    report_bindings: str | None = None
    pmix_mode: str = "auto"

    @property
    def ranks(self) -> int | None:
        """Of the whole job; None where its only program has no -n."""
        return sum(app.ranks or 0 for app in self.apps) or None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RunSpec:
        """The inverse of `to_json`."""
        data = json.loads(text)
        apps = tuple(App(**{**app, "words": tuple(app["words"])}) for app in data["apps"])
        return cls(**{**data, "apps": apps, "mapping": MappingWords(**data["mapping"])})


_RANKS = ("-n", "--ntasks")
_PER_NODE = ("--ppn", "--ntasks-per-node")
_MAPPING = {f"--{option.name}": option for option in MAPPING_OPTIONS} | {
    f"-{option.letter}": option for option in MAPPING_OPTIONS if option.letter
}


@dataclass
class _Job:
    """What was said about the job as a whole, while the programs are read."""

    per_node: int | None = None
    mapping: dict[str, str | None] = field(default_factory=dict)


def parse_run(words: Sequence[str]) -> RunSpec:
    """Read `[OPTIONS] IMAGE CMD… [: [OPTIONS] IMAGE CMD… | --native CMD…]…`.

    Raises:
        ShimError: what is wrong with the command line.
    """
    parts = _split_apps(words)
    job = _Job()
    apps = [_parse_app(part, job) for part in parts]
    if len(apps) > 1 and any(app.ranks is None for app in apps):
        raise ShimError(
            "Several programs are given, and one has no number of ranks.", "Give each its -n."
        )
    contained = [app.exec_options for app in apps if not app.native]
    reports = [one.report_bindings for one in contained if one.report_bindings is not None]
    return RunSpec(
        apps=tuple(apps),
        per_node=job.per_node,
        mapping=mapping_words(job.mapping),
        report_bindings=reports[0] if reports else None,
        pmix_mode=contained[0].pmix_mode if contained else "auto",
    )


def _split_apps(words: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == ":":
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _parse_app(words: list[str], job: _Job) -> App:
    """Take the job's options out of *words* (into *job*); what is left is `shim exec`'s."""
    kept: list[str] = []
    ranks: int | None = None
    native, partition = False, None
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in _RANKS:
            ranks = _count(name, value if equals else _take(name, rest))
        elif name in _PER_NODE:
            job.per_node = _count(name, value if equals else _take(name, rest))
        elif word.startswith("-n") and word[2:].isdecimal():
            ranks = _count("-n", word[2:])
        elif word == "--native":
            native = True
        elif name == "--partition":
            partition = value if equals else _take(name, rest)
        elif name in _MAPPING:
            _note_mapping(_MAPPING[name], value if equals else None, rest, job, kept)
        else:
            kept.append(word)
            if word == "--":
                break
            if not equals and _takes_next_word(word):
                kept.append(_take(name, rest))
    return _checked(App(ranks, (*kept, *rest), native, partition), kept)


def _note_mapping(
    option: Option, value: str | None, rest: list[str], job: _Job, kept: list[str]
) -> None:
    """An axis is the job's; whether to bind at all is each program's own affair."""
    if value is None and option.value is Value.REQUIRED:
        value = _take(f"--{option.name}", rest)
    if option.name == "cpu-bind" and ":" not in (value or ""):
        kept.append(f"--cpu-bind={value}")
    else:
        job.mapping[option.name] = value


def _checked(app: App, options: list[str]) -> App:
    if app.native and options:
        raise ShimError(
            f"Option {options[0]} is for a container, and this program is --native.",
            "Leave it out, or give an image instead of --native.",
        )
    if not app.command:
        raise ShimError(
            "No program was given.",
            "Usage: shim run -n N [OPTIONS] IMAGE COMMAND [ARG...], see `shim run --help`.",
        )
    return app


def _take(name: str, rest: list[str]) -> str:
    if not rest:
        raise ShimError(f"Option {name} needs a value.", "See `shim run --help`.")
    return rest.pop(0)


def _count(name: str, word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise ShimError(
            f"Option {name} has the value {word!r}.", "It must be a whole number above zero."
        )
    return int(word)


def _takes_next_word(word: str) -> bool:
    if word.startswith("--"):
        option = _find(lambda known: known.name == word[2:])
        return option is not None and option.value is Value.REQUIRED
    option = _find(lambda known: known.letter == word[1:2])
    return option is not None and option.value is Value.REQUIRED and len(word) == 2


def _find(wanted: Callable[[Option], bool]) -> Option | None:
    return next((known for known in TABLE if wanted(known)), None)
