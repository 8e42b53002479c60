"""An image is a definition, a Debian root and the programs; its key is made of all three."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.errors import ShimError
from shim.image_build.prepare import mmdebstrap_command
from shim.image_build.recipe import (
    ImageRecipe,
    copied_files,
    definition_sections,
    load_recipe,
    recipe_names,
)
from shim.image_build.sif import build_command, last_error

ROOT = Path(__file__).parents[2]
NAMES = ("openmpi-4.1", "openmpi-5.0")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the definitions and programs that a test may change."""
    for part in ("singularity-defs", "examples"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("bin"))
    return tmp_path


def test_the_two_images_are_there() -> None:
    assert set(NAMES) <= set(recipe_names(ROOT))


@pytest.mark.parametrize("name", NAMES)
def test_a_definition_has_what_a_user_looks_for(name: str) -> None:
    sections = definition_sections((ROOT / "singularity-defs" / f"{name}.def").read_text())
    assert sections[""] == ("Bootstrap: localimage", "From: {{ sandbox }}")
    assert {"post", "runscript", "help", "labels", "test"} <= set(sections)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_a_definition_copies_exists(name: str) -> None:
    recipe = load_recipe(name, ROOT)
    assert {"hybrid/hybrid.c", "pingpong/pingpong.c", "wireup/wireup.c"} <= set(recipe.programs)
    assert [path for path in recipe.programs if not (recipe.examples / path).is_file()] == []


def test_copied_files_are_those_of_the_examples_only() -> None:
    text = "Bootstrap: x\n%files\n  {{ examples }}/a/b.c /b.c\n  # {{ examples }}/no /no\n  /c /c\n"
    assert copied_files(text) == ("a/b.c",)


def test_a_definition_without_files_copies_none() -> None:
    assert copied_files("Bootstrap: localimage\nFrom: x\n") == ()


def append(path: Path, text: str = "\n# another\n") -> None:
    path.write_text(path.read_text() + text)


CHANGES: dict[str, Callable[[Path], None]] = {
    "the definition": lambda top: append(top / "singularity-defs/openmpi-5.0.def"),
    "a program": lambda top: append(top / "examples/hybrid/hybrid.c"),
    "a package": lambda top: append(
        top / "singularity-defs/openmpi-5.0.yaml", "  - /usr/share/x/*\n"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_image_changes_its_key(sources: Path, change: str) -> None:
    before = load_recipe("openmpi-5.0", sources).key("x86_64")
    CHANGES[change](sources)
    assert load_recipe("openmpi-5.0", sources).key("x86_64") != before


def test_the_key_depends_on_content_not_on_place(sources: Path) -> None:
    here, there = (load_recipe("openmpi-5.0", top).key("x86_64") for top in (ROOT, sources))
    assert here == there


def test_another_machine_type_needs_another_image() -> None:
    recipe = load_recipe("openmpi-5.0", ROOT)
    assert recipe.key("x86_64") != recipe.key("aarch64")


def test_a_changed_program_leaves_the_debian_root_as_it_is(sources: Path) -> None:
    before = load_recipe("openmpi-5.0", sources).root_key("x86_64")
    CHANGES["a program"](sources)
    assert load_recipe("openmpi-5.0", sources).root_key("x86_64") == before


def test_bytes_that_move_from_one_program_to_the_next_change_the_key(sources: Path) -> None:
    recipe = load_recipe("openmpi-5.0", sources)
    first, second = (recipe.examples / name for name in recipe.programs[:2])
    before = recipe.key("x86_64")
    content = second.read_text()
    append(first, content[:1])
    second.write_text(content[1:])
    assert recipe.key("x86_64") != before


def test_an_unknown_image_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ShimError) as refusal:
        load_recipe("openmpi-9", ROOT)
    assert "openmpi-9" in refusal.value.message
    assert "openmpi-4.1, openmpi-5.0" in refusal.value.hint


@pytest.mark.parametrize(
    "content", ["[", "suite: [1]\npackages: [a]", "suite: x", "suite: x\npackages: [a]\npackage: b"]
)
def test_a_root_description_that_is_none_is_refused(sources: Path, content: str) -> None:
    (sources / "singularity-defs/openmpi-5.0.yaml").write_text(content)
    with pytest.raises(ShimError, match=r"openmpi-5\.0\.yaml"):
        load_recipe("openmpi-5.0", sources)


def recipe_of(**changes: object) -> ImageRecipe:
    fields: dict[str, object] = {
        "name": "small",
        "definition": Path("/s/small.def"),
        "examples": Path("/s/examples"),
        "programs": (),
        "suite": "trixie",
        "packages": ("gcc", "make"),
        "excluded": ("/usr/share/doc/*",),
    }
    return ImageRecipe(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_root_is_made_of_the_recipe_and_the_given_mirror() -> None:
    command = mmdebstrap_command(recipe_of(), Path("/c/r.tar"), "http://mirror/debian")
    assert command[-3:] == ["trixie", "/c/r.tar", "deb http://mirror/debian trixie main"]
    assert "--include=gcc,make" in command
    assert "--dpkgopt=path-exclude=/usr/share/doc/*" in command


def test_the_builder_is_told_the_root_and_the_programs() -> None:
    command = build_command("apptainer", recipe_of(), Path("/r"), Path("/o.sif"))
    assert command[:2] == ["apptainer", "build"]
    assert {"sandbox=/r", "examples=/s/examples"} <= set(command)
    assert command[-2:] == ["/o.sif", "/s/small.def"]


def test_of_the_builders_words_the_fatal_ones_are_shown() -> None:
    lines = ["INFO:    Starting build...", "FATAL:   no room left.", "cleaning up", ""]
    assert last_error(lines) == "no room left"
    assert last_error(["make: *** [all] Error 1", ""]) == "make: *** [all] Error 1"
    assert last_error([]) == "it said nothing"
