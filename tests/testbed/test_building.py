"""Building images and layers: locks, what is hashed, and builders that die."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from testbed import layer
from testbed.image import mmdebstrap_command
from testbed.paths import locked_directory, remove_tree
from testbed.suites import suite_named


def test_the_second_holder_of_a_lock_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []
    inside = threading.Event()

    def first() -> None:
        with locked_directory(tmp_path / "place"):
            inside.set()
            time.sleep(0.2)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with locked_directory(tmp_path / "place"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_whoever_waited_for_a_removed_directory_gets_a_new_one(tmp_path: Path) -> None:
    place = tmp_path / "place"
    inside = threading.Event()

    def remover() -> None:
        with locked_directory(place):
            inside.set()
            time.sleep(0.2)
            remove_tree(place)

    thread = threading.Thread(target=remover)
    thread.start()
    inside.wait()
    with locked_directory(place) as held:
        (held / "file").write_text("here")
    thread.join()
    assert (place / "file").exists()


def test_a_foreign_suite_only_adds_and_never_replaces() -> None:
    command = mmdebstrap_command(suite_named("trixie"), Path("/r"), "http://mirror.example/debian")
    pins = [word for word in command if "Pin-Priority: 100" in word]
    assert len(pins) == 1
    assert command[-3:] == [
        "/r",
        "deb http://mirror.example/debian trixie main",
        "deb [check-valid-until=no] http://mirror.example/debian sid main",
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small source tree."""
    tree = tmp_path / "tree"
    (tree / "shim").mkdir(parents=True)
    (tree / "setup.py").write_text("setup()")
    (tree / "shim" / "a.py").write_text("a = 1")
    return tree


def test_the_layer_key_follows_the_sources(source: Path, tmp_path: Path) -> None:
    before = layer.content_key(source)
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    assert layer.content_key(copy) == before
    (copy / "shim" / "a.py").write_text("a = 2")
    assert layer.content_key(copy) != before


def test_a_moved_or_executable_file_is_another_source(source: Path) -> None:
    keys = {layer.content_key(source)}
    (source / "shim" / "a.py").chmod(0o755)
    keys.add(layer.content_key(source))
    (source / "shim" / "a.py").rename(source / "shim" / "b.py")
    keys.add(layer.content_key(source))
    assert len(keys) == 3


def test_what_a_build_leaves_in_the_tree_is_not_source(source: Path) -> None:
    before = layer.content_key(source)
    for name in ("shim/__pycache__/a.pyc", "shim/a.so", "shim/x.egg-info/f", "other/file"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("built")
    assert layer.content_key(source) == before


def test_an_installed_shim_carries_its_source(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages" / "testbed"
    installed.mkdir(parents=True)
    with tarfile.open(installed / "_source.tar.gz", "w:gz") as tar:
        tar.add(source, arcname=".")
    monkeypatch.setattr(layer, "__file__", str(installed / "layer.py"))
    with layer.source_tree() as unpacked:
        assert unpacked is not None
        assert layer.content_key(unpacked) == layer.content_key(source)
    assert not unpacked.exists()


def test_without_any_source_there_is_no_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "__file__", str(tmp_path / "testbed" / "layer.py"))
    with layer.source_tree() as source:
        assert source is None


@pytest.mark.cluster
def test_the_processes_of_a_build_end_with_its_builder(tmp_path: Path) -> None:
    mark = f"build-{os.getpid()}"
    program = (
        "import sys; from testbed.image import in_build_namespace;"
        f"in_build_namespace(['sh', '-c', 'touch {tmp_path}/begun; sleep 1000; : {mark}'],"
        " open('/dev/null', 'wb'))"
    )
    builder = subprocess.Popen([sys.executable, "-c", program])
    _wait_until((tmp_path / "begun").exists)
    assert _processes_with(mark)
    builder.kill()
    builder.wait()
    _wait_until(lambda: not _processes_with(mark))


def _processes_with(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in command:
            found.append(entry.name)
    return found


def _wait_until(condition: object, seconds: float = 5) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
