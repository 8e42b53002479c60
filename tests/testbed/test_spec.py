"""What can be asked for, and what a cluster's state remembers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.errors import ShimError
from testbed import network, state
from testbed.lifecycle import checked_spec
from testbed.state import ClusterSpec, ClusterState, Holder
from testbed.suites import SUITES, Suite, suite_named

GOOD: dict[str, Any] = {
    "name": "a",
    "nodes": 1,
    "cpus": "auto",
    "suite": "trixie",
    "slurm_conf": (),
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "../x"},
        {"name": "Upper"},
        {"name": "x" * 41},
        {"nodes": 0},
        {"nodes": 65},
        {"cpus": 0},
        {"cpus": 100_000},
        {"suite": "buzz"},
        {"slurm_conf": ("no line",)},
    ],
    ids=str,
)
def test_a_wrong_request_is_refused_with_a_remedy(wrong: dict[str, Any]) -> None:
    with pytest.raises(ShimError) as refusal:
        checked_spec(**{**GOOD, **wrong})
    assert refusal.value.message
    assert refusal.value.hint


def test_the_image_key_follows_everything_that_makes_the_image() -> None:
    suite = suite_named("trixie")
    keys = {
        suite.key("x86_64"),
        suite.key("aarch64"),
        Suite("trixie", (*suite.packages, "hello"), suite.foreign).key("x86_64"),
        Suite("trixie", suite.packages).key("x86_64"),
        *(other.key("x86_64") for other in SUITES.values()),
    }
    assert len(keys) == 4 + len(SUITES) - 1


@given(
    nodes=st.integers(1, 64),
    cpus=st.none() | st.integers(1, 1024),
    lines=st.lists(st.sampled_from(["KillWait=1", "PrologFlags=Contain"]), max_size=2),
    layer=st.none() | st.just("/layer"),
)
def test_state_is_read_back_as_it_was_saved(
    nodes: int, cpus: int | None, lines: list[str], layer: str | None
) -> None:
    import tempfile

    spec = ClusterSpec("a", nodes, cpus, "trixie", tuple(lines))
    saved = ClusterState(spec, "/image", layer, "up", {"n1": Holder(5, 7)}, network.addresses(spec))
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIM_CACHE", cache)
        state.directory_of("a").mkdir(parents=True)
        state.save(saved)
        assert state.load("a") == saved
        assert state.cluster_names() == ["a"]
        assert state.paths_in_use() == {"/image", *([layer] if layer else [])}


@pytest.mark.parametrize("text", ["", "{", "{}", '{"spec": 1}', "[]"])
def test_half_a_state_file_is_no_state(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIM_CACHE", str(tmp_path))
    state.directory_of("a").mkdir(parents=True)
    (state.directory_of("a") / "state.json").write_text(text)
    assert state.load("a") is None


def test_every_node_has_an_address_of_its_own() -> None:
    addresses = network.addresses(ClusterSpec(nodes=64))
    assert len(set(addresses.values())) == 65
    assert addresses["head"].endswith(".1")


def test_a_holder_is_a_process_and_not_just_a_pid() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        holder = Holder.of(process.pid)
        assert is_alive(holder)
        assert not is_alive(Holder(process.pid, holder.started + 1))
    finally:
        process.kill()
    # Not reaped yet: a zombie holds no namespaces.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(holder)
    process.wait()
    with pytest.raises(ProcessLookupError):
        Holder.of(process.pid)


def is_alive(holder: Holder) -> bool:
    """Asks anew each time; mypy takes a property for a constant."""
    return holder.alive
