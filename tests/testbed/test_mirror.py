"""The Debian archive is the one that the host's apt is configured for."""

from __future__ import annotations

import pytest

from shim.errors import ShimError
from testbed import mirror


def stanza(
    uri: str,
    release: str,
    origin: str | None = "Debian",
    component: str = "main",
    kind: str = "deb",
) -> str:
    """One entry of ``apt-get indextargets``, as far as it is read."""
    lines = [f"Repo-URI: {uri}", f"Release: {release}", f"Component: {component}"]
    lines.append(f"Target-Of: {kind}")
    if origin:
        lines.append(f"Origin: {origin}")
    return "\n".join(lines)


def test_the_main_archive_is_chosen_before_security_and_strangers() -> None:
    listing = "\n\n".join(
        [
            stanza("https://stranger.example/debian/", "bookworm", origin="Stranger"),
            stanza("http://mirror.example/debian-security/", "bookworm-security"),
            stanza("http://mirror.example/debian/", "bookworm", component="contrib"),
            stanza("http://mirror.example/debian/", "bookworm", kind="deb-src"),
            stanza("http://mirror.example/debian/", "bookworm"),
        ]
    )
    assert mirror.pick_mirror(listing) == "http://mirror.example/debian"


def test_before_the_first_apt_update_the_path_decides() -> None:
    listing = "\n\n".join(
        [
            stanza("http://packages.example/apt", "stable", origin=None),
            stanza("http://mirror.example/debian", "bookworm", origin=None),
        ]
    )
    assert mirror.pick_mirror(listing) == "http://mirror.example/debian"


def test_no_debian_archive_is_no_mirror() -> None:
    assert mirror.pick_mirror("") is None
    assert mirror.pick_mirror(stanza("http://u.example/ubuntu", "jammy", origin="Ubuntu")) is None


def test_this_machine_has_one() -> None:
    assert mirror.debian_mirror().rstrip("/").endswith("debian")


def test_the_environment_decides_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIM_DEBIAN_MIRROR", "file:///srv/archive")
    assert mirror.debian_mirror() == "file:///srv/archive"


def test_without_apt_the_refusal_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHIM_DEBIAN_MIRROR", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ShimError) as refusal:
        mirror.debian_mirror()
    assert "SHIM_DEBIAN_MIRROR" in refusal.value.hint
