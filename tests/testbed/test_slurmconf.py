"""slurm.conf of a cluster: defaults, the user's lines over them, the hardware."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.errors import ShimError
from testbed import network, slurmconf
from testbed.state import ClusterSpec

DESCRIBED = (
    "NodeName=n1 CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 "
    "RealMemory=1000\nUpTime=0-00:15:48\n"
)
KEYS = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,20}", fullmatch=True)


def conf(spec: ClusterSpec) -> dict[str, str]:
    hardware = slurmconf.hardware(spec, DESCRIBED)
    text = slurmconf.slurm_conf(spec, network.addresses(spec), hardware)
    lines = [line.partition("=") for line in text.splitlines()]
    return {key: value for key, _, value in lines}


def test_true_cpus_are_described_as_slurmd_sees_them_and_bound_by_affinity() -> None:
    written = conf(ClusterSpec())
    assert written["TaskPlugin"] == "task/affinity"
    assert "SlurmdParameters" not in written
    assert "CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2" in written["NodeName"]


def test_invented_cpus_are_not_bound_and_slurmctld_believes_them() -> None:
    written = conf(ClusterSpec(cpus=64))
    assert written["TaskPlugin"] == "task/none"
    assert written["SlurmdParameters"] == "config_overrides"
    assert "CPUs=64" in written["NodeName"]
    assert "CoresPerSocket" not in written["NodeName"]


def test_a_line_of_the_user_replaces_the_default_whatever_its_case() -> None:
    written = conf(ClusterSpec(slurm_conf=("killwait=1", "PrologFlags=Contain")))
    assert written["killwait"] == "1"
    assert "KillWait" not in written
    assert written["PrologFlags"] == "Contain"


@given(
    defaults=st.dictionaries(KEYS, st.just("1"), max_size=8),
    extra=st.lists(KEYS.map("{}=2".format), max_size=8),
)
def test_no_default_survives_beside_a_line_of_its_key(
    defaults: dict[str, str], extra: list[str]
) -> None:
    lines = slurmconf.merged(defaults, extra)
    given_keys = {slurmconf.key_of(line) for line in extra}
    kept = lines[: len(lines) - len(extra)]
    assert lines[len(kept) :] == extra
    assert {slurmconf.key_of(line) for line in kept}.isdisjoint(given_keys)
    assert {line.partition("=")[0] for line in kept} == {
        key for key in defaults if key.lower() not in given_keys
    }


@pytest.mark.parametrize("line", ["", "PrologFlags", "=x", "Prolog Flags=x", "A=", "A=1\nB=2"])
def test_what_is_no_line_of_slurm_conf_is_refused(line: str) -> None:
    with pytest.raises(ShimError) as refusal:
        slurmconf.key_of(line)
    assert "--slurm-conf" in refusal.value.hint


@pytest.mark.parametrize("described", ["", "slurmd: fatal", "NodeName=n1 CPUs=2"])
def test_a_machine_that_slurmd_does_not_describe_is_refused(described: str) -> None:
    with pytest.raises(ShimError):
        slurmconf.hardware(ClusterSpec(), described)


def test_memory_is_stated_below_what_there_is() -> None:
    # A node that registers with less than its line says is drained.
    assert slurmconf.hardware(ClusterSpec(), DESCRIBED).endswith("RealMemory=900")
