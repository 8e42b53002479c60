"""Build the C parts: the `shim` command and the extension module `pmix_server._pmixcore`.

Everything declarative is in pyproject.toml. What stands here cannot be said there: `shim` is a
C program installed as a script (a Python start-up per rank is the cost that we refuse), and its
option table is generated from `shim/options.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Sequence
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

# isort: split
# setuptools brings distutils along where Python has none any more (from 3.12 on).
from distutils.command.build_scripts import build_scripts

ROOT = Path(__file__).resolve().parent
WARNINGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
ROOMS = ["shim", "pmix_server", "cpusets", "meow_bridge", "testbed"]
SOURCE_PARTS = ["setup.py", "pyproject.toml", "README.md", "c_ext", "singularity-defs", "examples"]


def pmix_include() -> str:
    """The directory of pmix.h: from pkg-config, else Debian's, else a refusal that says how."""
    if shutil.which("pkg-config"):
        found = subprocess.run(
            ["pkg-config", "--variable=includedir", "pmix"], capture_output=True, text=True
        )
        if found.returncode == 0 and Path(found.stdout.strip(), "pmix.h").exists():
            return found.stdout.strip()
    triplet = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    for base in (
        os.environ.get("PMIX_INCLUDE"),
        f"/usr/lib/{triplet}/pmix2/include",
        "/usr/include",
    ):
        if base and Path(base, "pmix.h").exists():
            return base
    raise SystemExit(
        "shim: pmix.h was not found, and the PMIx server is compiled against it. Install the "
        "PMIx headers (Debian: apt-get install libpmix-dev) or set PMIX_INCLUDE to their directory."
    )


class BuildExt(build_ext):
    """Looks for pmix.h only when something is compiled, so that an sdist needs no headers."""

    def build_extensions(self) -> None:
        for extension in self.extensions:
            extension.include_dirs.append(pmix_include())
        super().build_extensions()


class BuildScripts(build_scripts):
    """Compiles `shim` where distutils would copy a script and rewrite its first line.

    Static, because it also runs inside any image as the process that keeps the container.
    """

    def run(self) -> None:
        out = Path(self.build_dir)
        out.mkdir(parents=True, exist_ok=True)
        header = out / "shim_options.h"
        subprocess.run(
            [sys.executable, "-m", "shim.options", "--header", str(header)], check=True, cwd=ROOT
        )
        interpreter = getattr(sys, "_base_executable", sys.executable)
        compiler = os.environ.get("CC", "cc")
        sources = sorted(str(path) for path in (ROOT / "c_ext" / "frontend").glob("*.c"))
        define = f'-DSHIM_PYTHON_DEFAULT="{interpreter}"'
        subprocess.run(
            [compiler, *WARNINGS, define, f"-I{out}", "-static", "-o", str(out / "shim"), *sources],
            check=True,
        )
        header.unlink()

    def get_source_files(self) -> list[str]:
        return []


class BuildPy(build_py):
    """Adds the source tree, from which `shim cluster up` installs shim into its nodes."""

    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):
            return
        archive = Path(self.build_lib, "testbed", "_source.tar.gz")
        with tarfile.open(archive, "w:gz") as tar:
            for part in [*ROOMS, *SOURCE_PARTS]:
                tar.add(ROOT / part, arcname=part, filter=without_build_products)


def without_build_products(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Drop what an earlier build left; forget who owns the files here."""
    if "__pycache__" in entry.name or entry.name.endswith((".so", ".pyc", ".tar.gz")):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def shared_files() -> list[tuple[str, Sequence[str]]]:
    """What `shim image build` works from, under PREFIX/share/shim as in the source tree."""
    files: dict[str, Sequence[str]] = {}
    for room in ("singularity-defs", "examples"):
        for path in sorted((ROOT / room).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(ROOT)
                directory = f"share/shim/{name.parent}"
                files[directory] = [*files.get(directory, ()), str(name)]
    return list(files.items())


setup(
    packages=find_packages(include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")]),
    package_data={room: ["py.typed", "*.pyi", "**/*.txt", "**/*.conf"] for room in ROOMS},
    ext_modules=[
        Extension(
            "pmix_server._pmixcore",
            sources=sorted(
                str(path.relative_to(ROOT)) for path in (ROOT / "c_ext" / "pmixcore").glob("*.c")
            ),
            depends=sorted(
                str(path.relative_to(ROOT)) for path in (ROOT / "c_ext" / "pmixcore").glob("*.h")
            ),
            extra_compile_args=[*WARNINGS, "-fvisibility=hidden"],
            libraries=["dl"],
        )
    ],
    data_files=shared_files(),
    scripts=["c_ext/frontend/main.c"],  # makes distutils run build_scripts; see BuildScripts
    cmdclass={"build_ext": BuildExt, "build_scripts": BuildScripts, "build_py": BuildPy},
)
