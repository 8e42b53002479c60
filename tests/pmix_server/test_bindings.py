"""Finding OpenPMIx's Python module."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pmix_server import PmixError, bindings


def test_an_absent_module_is_said_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pmix", None)
    monkeypatch.setattr(bindings, "_eggs", list)
    with pytest.raises(PmixError, match="not installed") as error:
        bindings.import_pmix()
    assert "python3-pmix" in error.value.hint


def test_an_unpacked_egg_of_the_distribution_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    egg = tmp_path / f"pypmix-5.0.7-{version}-linux-x86_64.egg"
    egg.mkdir()
    (egg / "pmix.py").write_text("PMIX_SUCCESS = 0\n")
    monkeypatch.setattr(bindings, "_DEBIAN", tmp_path)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "pmix", raising=False)
    try:
        assert bindings.import_pmix().__file__ == str(egg / "pmix.py")
    finally:
        sys.modules.pop("pmix", None)
