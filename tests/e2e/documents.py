"""The commands in the README and in docs/, read out of their fenced blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

COMMANDS = ("srun", "salloc", "sbatch", "prterun", "shim", "make", "pip", "apt-get")
"""A line of a block that begins with one of these is a command; `$ ` may stand before it."""


@dataclass(frozen=True)
class Documented:
    """A command line, or a whole job script, of a document."""

    document: str
    text: str

    @property
    def is_script(self) -> bool:
        return self.text.startswith("#!")

    def __str__(self) -> str:
        return f"{self.document}: {self.text.splitlines()[-1]}"


def documented() -> list[Documented]:
    """Every command and job script, in the order of the documents."""
    found: list[Documented] = []
    for path in DOCUMENTS:
        for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
            if block.startswith("#!"):
                found.append(Documented(path.name, block))
            else:
                lines = (line.removeprefix("$ ") for line in block.splitlines())
                found += [
                    Documented(path.name, without_comment(line))
                    for line in lines
                    if line.split(" ")[0] in COMMANDS
                ]
    return found


def without_comment(line: str) -> str:
    """A command without the explanation beside it: after `#`, or after two or more spaces."""
    return re.split(r"\s+#\s|\s{3,}", line)[0].strip()
