"""Build an initramfs that holds this Python, the modules it needs, and this source tree."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]

# Imports what the guest will import, and tells which files that took.
_WHICH = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
from cpusets import Topology
Topology.from_synthetic("core:1 pu:1")  # loads what is imported late, and hwloc
import encodings.ascii, encodings.latin_1, encodings.utf_8, _cffi_backend, json.decoder
files = {getattr(m, "__file__", None) for m in sys.modules.values()}
with open("/proc/self/maps") as maps:
    files |= {line.split()[-1] for line in maps if ".so" in line}
print(json.dumps(sorted(filter(None, files))))
"""
_LIBRARY = re.compile(r"(/\S+\.so\S*)")


def build(target: Path, guest: str, programs: Iterable[Path]) -> None:
    """Write the archive: `/init` runs the module `guest`; `programs` go to /bin."""
    with target.open("wb") as out:
        written: set[str] = set()
        inode = 0
        for name, content, mode in _entries(guest, list(programs)):
            if name not in written:
                inode += 1
                written.add(name)
                out.write(_record(name, content, mode, inode))
        out.write(_record("TRAILER!!!", b"", 0, 0))


def _entries(guest: str, programs: list[Path]) -> Iterator[tuple[str, bytes, int]]:
    """(path without the leading slash, content, mode); directories before what is in them."""
    python = Path(os.path.realpath(sys.executable))
    init = f"#!{python} -B\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
    paths = [p for p in sys.path if p and Path(p).exists()]
    init += f"sys.path[1:] = {paths!r}\nfrom {guest} import main\nmain()\n"
    files = {python, *_needed(guest), *_libraries([python, *programs])}
    yield from _directories([*files, Path("/bin/x"), Path("/proc/x"), Path("/sys/x")])
    yield "dev", b"", 0o040755
    yield "tmp", b"", 0o041777
    yield "init", init.encode(), 0o100755
    for path in sorted(files):
        yield str(path).lstrip("/"), path.read_bytes(), 0o100755
    for program in programs:
        yield f"bin/{program.name}", program.read_bytes(), 0o100755


def _needed(guest: str) -> set[Path]:
    done = subprocess.run(
        [sys.executable, "-c", _WHICH, guest],
        capture_output=True, text=True, check=True, cwd=REPOSITORY,
    )  # fmt: skip
    found = {Path(name) for name in json.loads(done.stdout)}
    # A library is looked for by its soname, a link that the loader's cache knows.
    cache = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found |= {Path(p) for p in _LIBRARY.findall(cache) if p.endswith("/libhwloc.so.15")}
    # The landmark by which Python finds its standard library.
    found |= {Path(os.__file__)}
    return found | _libraries(found)


def _libraries(files: Iterable[Path]) -> set[Path]:
    """What the dynamic loader would load for these."""
    binaries = [str(f) for f in files if ".so" in f.name or not f.suffix or f.suffix[1:].isdigit()]
    done = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False)
    found = {Path(name) for name in _LIBRARY.findall(done.stdout)}
    return {path for path in found if path.exists()}


def _directories(files: Iterable[Path]) -> Iterator[tuple[str, bytes, int]]:
    parents = {parent for path in files for parent in path.parents if parent != Path("/")}
    for directory in sorted(parents):
        yield str(directory).lstrip("/"), b"", 0o040755


def _record(name: str, content: bytes, mode: int, inode: int) -> bytes:
    """One entry of the `newc` format (Documentation/driver-api/early-userspace/buffer-format)."""
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + encoded) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
