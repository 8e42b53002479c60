"""What users read when the runtime refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.container.troubles import describe, last_complaint, warnings

LOG = """\
INFO:    fuse2fs not found, will not be able to mount EXT3 filesystems
WARNING: one
\x1b[33mWARNING:\x1b[0m two
WARNING: one
ERROR  : something
FATAL:   while handling /x: no space left on device.
INFO:    Cleanup
"""


def test_the_fatal_line_is_the_cause() -> None:
    error = describe("app.sif", 255, LOG)
    assert error.message == (
        "The container runtime could not start app.sif: while handling /x: no space left on device."
    )
    assert "Free space" in error.hint


def test_without_a_fatal_line_the_last_one_is() -> None:
    assert last_complaint("a\n\nb\n\n") == "b"
    assert last_complaint("") == ""
    assert describe("i", 1, "").message == "The container runtime could not start i."


def test_a_signal_and_a_time_limit_are_named() -> None:
    assert "killed by signal 9" in describe("i", -9, "").message
    assert "did not start in time" in describe("i", None, "").message


@pytest.mark.parametrize(
    ("cause", "hint"),
    [
        ("Failed to create user namespace: ...", "user namespaces"),
        ("failed to open /dev/fuse: Permission denied", "/dev/fuse"),
        ("image targets 'arm64', cannot run on 'amd64'", "architecture"),
        ("mount source /gone doesn't exist", "--bind"),
        ("nobody knows", "by the runtime's own"),
    ],
)
def test_causes_lead_to_hints(cause: str, hint: str) -> None:
    assert hint.split()[-1] in describe("i", 255, f"FATAL:   {cause}\n").hint


def test_warnings_are_kept_once_each(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(LOG)
    assert warnings(log) == ("one", "two")
    assert warnings(tmp_path / "none") == ()
