"""Which container runtime is here, and whether ranks can join what it starts."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shim.errors import ShimError
from shim.options import ExecOptions

NAMES = ("apptainer", "singularity")
"""Looked for on PATH in this order; Apptainer installs `singularity` as a second name."""

_MAX_USER_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")
_UNPRIVILEGED_CLONE = Path("/proc/sys/kernel/unprivileged_userns_clone")
"""A Debian and Ubuntu patch; absent elsewhere."""


@dataclass(frozen=True)
class Runtime:
    """An installed runtime."""

    path: str
    setuid: bool
    """It starts containers through a setuid-root program, as an ordinary user sees it."""

    @property
    def name(self) -> str:
        return Path(self.path).name

    def why_no_join(self, options: ExecOptions, uid: int) -> str | None:
        """Why ranks cannot join the container by setns(2); None: they can.

        A setuid runtime makes its namespaces as root: entering them needs CAP_SYS_ADMIN in the
        initial user namespace. With --userns it makes them as the user.
        """
        if uid == 0 or not self.setuid or options.has("userns") or options.has("fakeroot"):
            return None
        return f"{self.name} is installed setuid-root, so ranks cannot enter its namespaces"


def find_runtime(chosen: str | None, env: Mapping[str, str]) -> Runtime:
    """The runtime named by --runtime, else the first one on PATH.

    Raises:
        ShimError: there is none.
    """
    path = env.get("PATH")
    if chosen is not None:
        found = shutil.which(chosen, path=path)
        if found is None:
            raise ShimError(
                f"The container runtime {chosen!r} was not found or is not executable.",
                "Name another one with --runtime, or put it on PATH.",
            )
    else:
        found = next(filter(None, (shutil.which(name, path=path) for name in NAMES)), None)
        if found is None:
            raise ShimError(
                "Neither apptainer nor singularity is on PATH.",
                "Load the site's module for it, or name the program with --runtime.",
            )
    return Runtime(found, _is_setuid(Path(found).resolve()))


def _is_setuid(program: Path) -> bool:
    """Whether the starter beside *program* is setuid-root and its configuration allows it."""
    prefix = program.parent.parent
    name = program.name
    starters = [
        prefix / "libexec" / name / "bin" / "starter-suid",
        *prefix.glob(f"lib/*/{name}/bin/starter-suid"),
        prefix / "lib" / name / "bin" / "starter-suid",
    ]
    return any(map(_is_setuid_root, starters)) and _allowed(prefix, name)


def _is_setuid_root(path: Path) -> bool:
    try:
        info = path.stat()
    except OSError:
        return False
    return info.st_uid == 0 and bool(info.st_mode & 0o4000)


def _allowed(prefix: Path, name: str) -> bool:
    """`allow setuid` of apptainer.conf / singularity.conf; its default is yes."""
    for path in (prefix / "etc" / name / f"{name}.conf", Path("/etc") / name / f"{name}.conf"):
        try:
            text = path.read_text()
        except OSError:
            continue
        found = re.search(r"^\s*allow setuid\s*=\s*(\w+)", text, re.MULTILINE)
        return found is None or found[1] != "no"
    return True


def check_user_namespaces(runtime: Runtime) -> None:
    """Refuse where an unprivileged runtime cannot make its user namespace.

    Raises:
        ShimError: user namespaces are off for ordinary users.
    """
    if os.geteuid() == 0 or runtime.setuid:
        return
    for path in (_MAX_USER_NAMESPACES, _UNPRIVILEGED_CLONE):
        if _reads_zero(path):
            setting = str(path).removeprefix("/proc/sys/").replace("/", ".")
            raise ShimError(
                f"User namespaces are off on this node ({setting} is 0), "
                f"and {runtime.name} is not installed setuid-root.",
                f"Ask the administrator for `sysctl {setting}=N` with N above 0, "
                "or for a setuid installation.",
            )


def _reads_zero(path: Path) -> bool:
    try:
        return path.read_text().strip() == "0"
    except OSError:
        return False
