"""What is said about images before a runtime is started."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from shim.container.image import ImageKind, check_image, judge_header
from shim.errors import ShimError

LAUNCH = b"#!/usr/bin/env run-singularity\n\0"


def sif(architecture: bytes) -> bytes:
    return LAUNCH + b"SIF_MAGIC\0" + b"01\0" + architecture + b"\0" + bytes(80)


def refusal(reference: str | Path, machine: str = "x86_64") -> ShimError:
    with pytest.raises(ShimError) as error:
        check_image(str(reference), machine=machine)
    assert error.value.exit_code == 125
    assert error.value.hint
    return error.value


def test_a_sif_file_of_this_architecture(tmp_path: Path) -> None:
    path = tmp_path / "app.sif"
    path.write_bytes(sif(b"02"))
    image = check_image(str(path), machine="x86_64")
    assert (image.kind, image.architecture) == (ImageKind.SIF, "amd64")


def test_a_sandbox_an_instance_and_a_squashfs_file(tmp_path: Path) -> None:
    (tmp_path / "flat.squashfs").write_bytes(b"hsqs" + struct.pack("<I", 7) + bytes(90))
    assert check_image(str(tmp_path)).kind is ImageKind.SANDBOX
    assert check_image("instance://web").kind is ImageKind.INSTANCE
    assert check_image(str(tmp_path / "flat.squashfs")).kind is ImageKind.SQUASHFS


def test_a_missing_image(tmp_path: Path) -> None:
    assert "does not exist on this node" in refusal(tmp_path / "none.sif").message
    assert "does not exist" in refusal("").message


@pytest.mark.parametrize("content", [b"", b"x", b"#!/bin/sh\necho\n", bytes(4096), LAUNCH])
def test_a_file_that_is_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "app.sif"
    path.write_bytes(content)
    assert "is not a container image" in refusal(path).message


def test_a_program_in_the_images_place_is_no_image() -> None:
    error = refusal("/bin/sh")
    assert "is not a container image" in error.message
    assert "before the program" in error.hint


def test_an_image_below_a_file_or_in_a_loop(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "cannot be opened" in refusal(tmp_path / "file" / "app.sif").message
    assert "cannot be opened" in refusal(tmp_path / "loop").message
    assert "cannot be opened" in refusal("x" * 5000).message


@pytest.mark.parametrize(
    ("architecture", "machine", "fits"),
    [
        (b"02", "x86_64", True),
        (b"01", "x86_64", True),
        (b"04", "x86_64", False),
        (b"04", "aarch64", True),
        (b"02", "aarch64", False),
        (b"06", "ppc64le", True),
        (b"00", "x86_64", True),
    ],
)
def test_the_architecture_must_fit(
    tmp_path: Path, architecture: bytes, machine: str, fits: bool
) -> None:
    path = tmp_path / "app.sif"
    path.write_bytes(sif(architecture))
    if fits:
        assert check_image(str(path), machine=machine).kind is ImageKind.SIF
    else:
        error = refusal(path, machine)
        assert "is built for" in error.message


@pytest.mark.parametrize("scheme", ["docker", "oras", "library", "shub", "https"])
def test_an_image_of_a_registry_is_to_be_fetched_once(scheme: str) -> None:
    error = refusal(f"{scheme}://some/where")
    assert "every node would fetch its own copy" in error.message
    assert f"pull app.sif {scheme}://some/where" in error.hint


def test_the_header_alone_decides() -> None:
    assert judge_header(b"") is None
    assert judge_header(sif(b"99")) == (ImageKind.SIF, None)
