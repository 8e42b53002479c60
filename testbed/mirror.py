"""Where this machine's own apt gets Debian packages from.

The node images come from the mirror that the host is configured for; no host name is built in.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping

from shim.errors import ShimError


def debian_mirror() -> str:
    """Return the URL of the Debian archive in the host's apt configuration.

    ``SHIM_DEBIAN_MIRROR`` takes precedence, for hosts that are not Debian.
    """
    chosen = os.environ.get("SHIM_DEBIAN_MIRROR")
    if chosen:
        return chosen
    try:
        listing = subprocess.run(
            ["apt-get", "indextargets"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ShimError(
            "The node images are Debian, and this machine has no working apt-get.",
            "Use a Debian machine, or set SHIM_DEBIAN_MIRROR to the URL of a Debian archive.",
        ) from error
    mirror = pick_mirror(listing)
    if mirror is None:
        raise ShimError(
            "The apt configuration of this machine names no Debian archive.",
            "Add one to /etc/apt/sources.list.d, or set SHIM_DEBIAN_MIRROR to its URL.",
        )
    return mirror


def pick_mirror(listing: str) -> str | None:
    """Choose the main Debian archive from the output of ``apt-get indextargets``.

    Before the first ``apt-get update`` the stanzas carry no ``Origin``; then the path decides.
    The security archive is an archive of its own and holds no whole suite.
    """
    for stanza in _stanzas(listing):
        if stanza.get("Target-Of") != "deb" or stanza.get("Component") != "main":
            continue
        uri = stanza.get("Repo-URI", "").rstrip("/")
        release = stanza.get("Release", "")
        if "security" in uri or "security" in release:
            continue
        if stanza.get("Origin", "Debian") == "Debian" and uri.endswith("debian"):
            return uri
    return None


def _stanzas(listing: str) -> Iterator[Mapping[str, str]]:
    for block in listing.split("\n\n"):
        pairs = (line.partition(": ") for line in block.splitlines())
        yield {name: value.strip() for name, separator, value in pairs if separator}
