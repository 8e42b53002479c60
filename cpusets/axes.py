"""The three axes of a mapping in the field's words: where ranks go, their order, their binding."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from cpusets.errors import PlanError

# Objects that ranks can be mapped by and bound to, largest first; the words are PRRTE's.
OBJECTS = ("package", "die", "numa", "l3", "l2", "core", "hwthread")
ALIASES = {
    "socket": "package",
    "pack": "package",
    "numanode": "numa",
    "l3cache": "l3",
    "l2cache": "l2",
    "thread": "hwthread",
    "pu": "hwthread",
}

_PPR = re.compile(r"ppr:(\d+):([a-z0-9]+)\Z")
_PE = re.compile(r"(?P<rest>.*):pe=(?P<count>\d+)\Z")


class RankBy(StrEnum):
    """Which rank gets which of the mapped places.

    `slot`: in the order of mapping. `fill`: one object after the other. `span`: one rank per
    object in turn. `node` deals ranks over nodes and is `slot` within one.
    """

    SLOT = "slot"
    FILL = "fill"
    SPAN = "span"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class MapBy:
    """Where ranks go.

    `kind` is `slot` (next free CPUs), `node`, one of OBJECTS (ranks in turn over these), `ppr`
    (`per` ranks on each `over`), or `dist` (NUMA nodes by distance from `device`).
    """

    kind: str
    per: int = 0
    over: str = ""
    device: str = ""

    def __str__(self) -> str:
        if self.kind == "ppr":
            return f"ppr:{self.per}:{self.over}"
        return f"dist:{self.device}" if self.kind == "dist" else self.kind

    @property
    def level(self) -> str:
        """The kind of object that ranks are dealt over within a node; `` for none."""
        if self.kind in OBJECTS:
            return self.kind
        return self.over if self.over in OBJECTS else ""


def parse_map_by(text: str) -> tuple[MapBy | None, int | None]:
    """Read `--map-by`: the mapping (None for `auto`) and the cores per rank of `:pe=N`.

    Raises PlanError naming the known words.
    """
    word, cores = text.strip().lower(), None
    if match := _PE.match(word):
        word, cores = match["rest"], int(match["count"])
    if word == "auto":
        return None, cores
    if word in ("slot", "node"):
        return MapBy(word), cores
    if word.startswith("dist:") and len(word) > len("dist:"):
        return MapBy("dist", device=text.strip().split(":")[1]), cores
    if match := _PPR.match(word):
        over = _alias(match[2])
        if int(match[1]) > 0 and over in (*OBJECTS, "node"):
            return MapBy("ppr", per=int(match[1]), over=over), cores
    if _alias(word) in OBJECTS:
        return MapBy(_alias(word)), cores
    raise PlanError(
        f"{text!r} is no way to map ranks.",
        f"Use auto, slot, node, {', '.join(OBJECTS)}, ppr:N:OBJECT or dist:DEVICE, "
        "with :pe=N for N cores per rank.",
    )


def parse_rank_by(text: str) -> RankBy:
    """Read `--rank-by`. Raises PlanError naming the known words."""
    try:
        return RankBy(text.strip().lower())
    except ValueError as error:
        raise PlanError(
            f"{text!r} is no order of ranks.", f"Use one of {', '.join(RankBy)}."
        ) from error


def parse_bind_to(text: str) -> str:
    """Read `--bind-to`: `none` or one of OBJECTS. Raises PlanError naming the known words."""
    word = _alias(text.strip().lower())
    if word in (*OBJECTS, "none"):
        return word
    raise PlanError(
        f"{text!r} is nothing that a rank can be bound to.",
        f"Use none or one of {', '.join(OBJECTS)}.",
    )


def _alias(word: str) -> str:
    return ALIASES.get(word, word)
