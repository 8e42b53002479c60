"""The root file systems of nodes: built once per content, shared read-only by every node.

An image is built in a mount and PID namespace of its own. Whatever happens to the builder, its
processes and mounts go with the namespaces; what may stay is a half-filled directory, which
the next builder removes.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from shim.errors import ShimError
from testbed.mirror import debian_mirror
from testbed.paths import cache_directory, locked_directory, remove_tree
from testbed.progress import Steps
from testbed.state import paths_in_use
from testbed.suites import Suite

USERS: Final = (("demo", 1000), ("other", 1001))
"""The ordinary users of every node: name and uid (= gid)."""

_NAMESPACES: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")

_SET_UP_USERS: Final = "\n".join(
    [
        *(f"chroot $1 useradd --no-create-home --uid {u} --shell /bin/bash {n}" for n, u in USERS),
        # Apptainer's --fakeroot needs sub-ids (newuidmap(1)); useradd writes them only where
        # login.defs says so.
        *(f"echo {n}:{100_000 * (u - 999)}:65536 >> $1/etc/subuid" for n, u in USERS),
        "sort -u -t: -k1,1 $1/etc/subuid -o $1/etc/subuid",
        "cp $1/etc/subuid $1/etc/subgid",
    ]
)

_FINISH: Final = """
rm -f $1/etc/ssh/ssh_host_* $1/etc/munge/munge.key
mkdir -p $1/shared
rm -rf $1/usr/share/doc/* $1/usr/share/locale/* $1/usr/share/man/*
"""

# No daemon may start while packages are configured; nodes start their own.
_NO_SERVICES: Final = (
    "printf '#!/bin/sh\\nexit 101\\n' > $1/usr/sbin/policy-rc.d; chmod 755 $1/usr/sbin/policy-rc.d"
)


def ensure_image(suite: Suite, steps: Steps) -> Path:
    """Return the root directory of the suite's image; build it if it is not cached.

    Building takes about a minute for trixie, less for the small suites. Two callers do not
    build twice: the second waits for the first.
    """
    directory = cache_directory() / "images"
    image = directory / suite.key(platform.machine())
    if image.is_dir():
        return image
    with locked_directory(directory / f"{suite.name}.building") as workplace:
        if not image.is_dir():
            for stale in workplace.iterdir():
                remove_tree(stale)
            root = workplace / "root"
            with steps(f"building the {suite.name} node image (once, about a minute)"):
                _bootstrap(suite, root)
            root.rename(image)
            _forget_older(directory, suite, keep=image)
        remove_tree(workplace)
    return image


def _bootstrap(suite: Suite, root: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise ShimError(
            "The node image is built by mmdebstrap, which is not installed.",
            "Run: apt-get install mmdebstrap",
        )
    log = root.with_suffix(".log")
    with log.open("wb") as sink:
        status = in_build_namespace(mmdebstrap_command(suite, root, debian_mirror()), sink)
    if status != 0:
        raise ShimError(
            f"Building the {suite.name} node image failed: {_last_error(log)}",
            f"Check that apt-get update works here, then try again; the whole log is {log}.",
        )


def mmdebstrap_command(suite: Suite, root: Path, mirror: str) -> list[str]:
    """The command that makes the suite's image in ``root``.

    A foreign suite is pinned to priority 100, below the 500 of the image's own (see
    apt_preferences(5)): it gives only packages that exist nowhere else.
    """
    packages = ",".join([*suite.packages, *suite.foreign])
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=force-unsafe-io",
        f"--include={packages}",
        f"--essential-hook={_NO_SERVICES}",
        f"--customize-hook={_SET_UP_USERS}",
        f"--customize-hook={_FINISH}",
    ]
    sources = [_source(mirror, suite.name, suite.expired)]
    if suite.foreign:
        pin = f"Package: *\\nPin: release n={suite.foreign_suite}\\nPin-Priority: 100\\n"
        command.append(
            f"--setup-hook=mkdir -p $1/etc/apt/preferences.d;"
            f" printf '{pin}' > $1/etc/apt/preferences.d/foreign"
        )
        sources.append(_source(mirror, suite.foreign_suite, expired=True))
    return [*command, suite.name, str(root), *sources]


def _source(mirror: str, suite: str, expired: bool) -> str:
    options = "[check-valid-until=no] " if expired else ""
    return f"deb {options}{mirror} {suite} main"


def in_build_namespace(command: Sequence[str], sink: IO[bytes]) -> int:
    """Run ``command`` in mount and PID namespaces that end with this process; exit status.

    ``sink`` is a file that takes its output.
    """
    process = subprocess.Popen(
        # unshare ignores SIGTERM while its child runs; killed, it takes the child along.
        ["setpriv", "--pdeathsig=KILL", "--", *_NAMESPACES, *command],
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=subprocess.STDOUT,
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "HOME": "/root",
        },
    )
    try:
        return process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise


def _last_error(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("E: ")]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("E: ").rstrip(".") + "."


def _forget_older(directory: Path, suite: Suite, keep: Path) -> None:
    """Remove images of the same suite that no cluster stands on: each is about a gigabyte."""
    used = paths_in_use()
    for image in directory.glob(f"{suite.name}-*"):
        if image.is_dir() and image != keep and str(image) not in used:
            os.rename(image, doomed := image.with_name(f"{image.name}.removed"))
            remove_tree(doomed)
