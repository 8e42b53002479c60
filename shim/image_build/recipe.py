"""What an image is made of: a definition, the Debian root under it, and the files it copies.

An image NAME is the pair ``singularity-defs/NAME.def`` and ``NAME.yaml``. The YAML file says which
Debian root the definition starts from, since the machines that build have no network: suite,
packages, and paths left out of the packages.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shim.errors import ShimError

RECIPE_VERSION = 2
"""Raised when the way an image is built on its root changes although its files do not."""

_SOURCE_MARK = "{{ examples }}/"
_YAML_FIELDS = {"suite", "packages", "exclude"}


@dataclass(frozen=True)
class ImageRecipe:
    """One image of singularity-defs/, read but not built.

    ``programs`` are the files that %files takes from ``examples``, relative to it.
    ``excluded`` are dpkg path patterns (dpkg.cfg.d path-exclude).
    """

    name: str
    definition: Path
    examples: Path
    programs: tuple[str, ...]
    suite: str
    packages: tuple[str, ...]
    excluded: tuple[str, ...]

    def root_key(self, architecture: str) -> str:
        """Name of the Debian root in the cache: changes with whatever changes the root."""
        parts = [architecture, self.suite, self.packages, self.excluded]
        return f"{self.name}-{_digest(json.dumps(parts).encode())}"

    def key(self, architecture: str) -> str:
        """Name of the image in the cache: of the root, the definition and the programs."""
        contents = [self.definition.read_bytes()]
        for program in self.programs:
            contents += [program.encode(), (self.examples / program).read_bytes()]
        # Lengths keep two files apart whose bytes only moved across their border.
        framed = b"".join(b"%d:%b" % (len(content), content) for content in contents)
        recipe = f"{RECIPE_VERSION} {self.root_key(architecture)} "
        return f"{self.name}-{_digest(recipe.encode() + framed)}"


def source_directory() -> Path:
    """The directory that holds singularity-defs/ and examples/.

    That is the source tree where shim runs from one, else the share directory of the prefix
    into which it was installed.
    """
    candidates = (Path(__file__).resolve().parents[2], Path(sys.prefix, "share", "shim"))
    for candidate in candidates:
        if (candidate / "singularity-defs").is_dir():
            return candidate
    raise ShimError(
        "The image definitions (singularity-defs/) are not installed with this shim.",
        "Give the directory of the source tree with --sources DIR.",
    )


def recipe_names(sources: Path) -> list[str]:
    """Names of all images that can be built, sorted."""
    found = (sources / "singularity-defs").glob("*.def")
    return sorted(path.stem for path in found if path.with_suffix(".yaml").exists())


def load_recipe(name: str, sources: Path) -> ImageRecipe:
    """Read the recipe of the image called *name*; refuse an unknown or a malformed one."""
    if name not in recipe_names(sources):
        raise ShimError(
            f"There is no image definition called {name!r}.",
            f"Choose one of {', '.join(recipe_names(sources)) or 'none'} (shim image list).",
        )
    definition = sources / "singularity-defs" / f"{name}.def"
    root = _read_root(definition.with_suffix(".yaml"))
    return ImageRecipe(
        name=name,
        definition=definition,
        examples=sources / "examples",
        programs=copied_files(definition.read_text()),
        suite=root["suite"],
        packages=tuple(root["packages"]),
        excluded=tuple(root.get("exclude", ())),
    )


def copied_files(definition: str) -> tuple[str, ...]:
    """The sources in %files of a definition that lie in the examples directory."""
    return tuple(
        line.strip().removeprefix(_SOURCE_MARK).split()[0]
        for line in definition_sections(definition).get("files", ())
        if line.strip().startswith(_SOURCE_MARK)
    )


def definition_sections(definition: str) -> Mapping[str, tuple[str, ...]]:
    """The sections of a definition file without blank lines and comments; "" is the header."""
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in definition.splitlines():
        if line.startswith("%"):
            current = line[1:].split()[0]
            sections[current] = []
        elif line.strip() and not line.lstrip().startswith("#"):
            sections[current].append(line)
    return {name: tuple(lines) for name, lines in sections.items()}


def _read_root(path: Path) -> dict[str, Any]:
    try:
        root = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ShimError(f"{path} is not YAML.", f"Mend it: {error}") from error
    known = isinstance(root, dict) and set(root) <= _YAML_FIELDS
    if not known or not isinstance(root.get("suite"), str) or not root.get("packages"):
        raise ShimError(
            f"{path} does not describe a Debian root.",
            "It takes the fields suite (a word), packages and, if wanted, exclude (lists).",
        )
    return dict(root)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
