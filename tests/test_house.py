"""The rooms and who may import whom (docs/architecture.md, "The house")."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "cpusets": set(),
    "pmix_server": {"cpusets"},
    "shim": {"cpusets", "pmix_server"},
    "meow_bridge": {"shim"},
    "testbed": {"shim"},
}
"""Room → rooms that its modules may import. Everything not listed is forbidden."""

EXCEPTIONS = {("shim/cli/cluster.py", "testbed"), ("shim/cli/image.py", "testbed")}
"""The commands that drive the testbed; they import it when they run, not before."""

STANDARD_LIBRARY_ONLY = ["shim/__init__.py", "shim/errors.py", "shim/options.py"]
"""setup.py imports these while it builds, before any dependency is there."""


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported_names(path: Path) -> Iterator[str]:
    """Every absolute module name in *path*, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported_names(path)} & set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_stands_below_it(room: str) -> None:
    assert modules(room), f"{room} is empty"
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in modules(room)
        for other in rooms_imported(path) - {room} - MAY_IMPORT[room]
        if (str(path.relative_to(ROOT)), other) not in EXCEPTIONS
    ]
    assert wrong == []


def test_pmix_server_takes_only_value_types_from_cpusets() -> None:
    names = {
        name
        for path in modules("pmix_server")
        for name in imported_names(path)
        if name.startswith("cpusets")
    }
    assert names <= {"cpusets", "cpusets.CpuSet", "cpusets.cpuset", "cpusets.cpuset.CpuSet"}


def test_testbed_takes_only_the_presentable_error_from_shim() -> None:
    names = {
        name
        for path in modules("testbed")
        for name in imported_names(path)
        if name.startswith("shim")
    }
    assert names <= {"shim.errors", "shim.errors.ShimError"}


def test_meow_bridge_reaches_into_no_private_module_of_shim() -> None:
    private = [
        name
        for path in modules("meow_bridge")
        for name in imported_names(path)
        if name.startswith("shim.") and any(part.startswith("_") for part in name.split("."))
    ]
    assert private == []


@pytest.mark.parametrize("path", STANDARD_LIBRARY_ONLY)
def test_the_build_needs_no_dependency(path: str) -> None:
    third_party = {"yaml", "psutil", "cffi", "spython", "zmq", "msgpack", "rich"}
    assert {name.partition(".")[0] for name in imported_names(ROOT / path)} & third_party == set()


def test_imports_have_no_cycle() -> None:
    """Over all rooms: a module-level import graph without a cycle."""
    graph: dict[str, set[str]] = {
        name: set() for room in MAY_IMPORT for name in map(dotted, modules(room))
    }
    for room in MAY_IMPORT:
        for path in modules(room):
            graph[dotted(path)] = {
                name for name in top_level_imports(path) if name in graph and name != dotted(path)
            }
    assert find_cycle(graph) is None


def dotted(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def top_level_imports(path: Path) -> Iterator[str]:
    """What is imported when the module is loaded; imports for types alone do not count."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names
            # `from package import module` needs the module, not what the package's __init__ does.
            if not all(is_module(name) for name in names):
                yield node.module


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.with_suffix(".pyi").exists() or path.is_dir()


def find_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for other in sorted(graph[name]):
            # A package's __init__ re-exports its modules; that edge is the package itself.
            if other == name.rpartition(".")[0]:
                continue
            cycle = walk(other, [*path, name])
            if cycle:
                return cycle
        done.add(name)
        return None

    for name in sorted(graph):
        cycle = walk(name, [])
        if cycle:
            return cycle
    return None
