"""Which runtime is used, and whether ranks can join what it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shim.container.runtime import Runtime, find_runtime
from shim.errors import ShimError
from shim.options import parse_exec


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_apptainer_before_singularity(tmp_path: Path) -> None:
    program(tmp_path / "a/singularity")
    program(tmp_path / "b/apptainer")
    found = find_runtime(None, {"PATH": f"{tmp_path}/a:{tmp_path}/b"})
    assert found.path == f"{tmp_path}/b/apptainer"


def test_singularity_alone(tmp_path: Path) -> None:
    program(tmp_path / "singularity")
    assert find_runtime(None, {"PATH": str(tmp_path)}).name == "singularity"


def test_the_runtime_can_be_named(tmp_path: Path) -> None:
    chosen = program(tmp_path / "opt/bin/singularity")
    assert find_runtime(str(chosen), {"PATH": "/nowhere"}).path == str(chosen)


@pytest.mark.parametrize("chosen", [None, "singularity", "/no/such/apptainer"])
def test_no_runtime(tmp_path: Path, chosen: str | None) -> None:
    program(tmp_path / "apptainer", mode=0o644)
    with pytest.raises(ShimError) as error:
        find_runtime(chosen, {"PATH": str(tmp_path)})
    assert error.value.exit_code == 125
    assert "--runtime" in error.value.hint


STARTERS = ["libexec/apptainer/bin", "lib/x86_64-linux-gnu/apptainer/bin", "lib/apptainer/bin"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a setuid-root program")
@pytest.mark.parametrize("place", STARTERS)
def test_a_setuid_root_starter_is_seen(tmp_path: Path, place: str) -> None:
    apptainer = program(tmp_path / "bin/apptainer")
    starter = program(tmp_path / place / "starter-suid", mode=0o4755)
    assert find_runtime(str(apptainer), {}).setuid
    starter.chmod(0o755)
    assert not find_runtime(str(apptainer), {}).setuid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a setuid-root program")
@pytest.mark.parametrize(("setting", "setuid"), [("no", False), ("yes", True)])
def test_the_configuration_can_forbid_it(tmp_path: Path, setting: str, setuid: bool) -> None:
    apptainer = program(tmp_path / "bin/apptainer")
    program(tmp_path / STARTERS[0] / "starter-suid", mode=0o4755)
    configuration = tmp_path / "etc/apptainer/apptainer.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f"# allow setuid = maybe\nallow setuid = {setting}\n")
    assert find_runtime(str(apptainer), {}).setuid is setuid


def test_who_may_join() -> None:
    plain, setuid = Runtime("/usr/bin/apptainer", False), Runtime("/usr/bin/apptainer", True)
    options, userns = parse_exec(["i"]), parse_exec(["--userns", "i"])
    assert plain.why_no_join(options, 1000) is None
    assert setuid.why_no_join(options, 0) is None
    assert setuid.why_no_join(userns, 1000) is None
    reason = setuid.why_no_join(options, 1000)
    assert reason is not None
    assert "setuid-root" in reason
