"""Typed values through message bodies, and the pure parts of the services."""

from __future__ import annotations

import signal
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmix_server import Info, PmixError, Proc, Status, keys, portable
from pmix_server.groups import HEADER, join_shares
from pmix_server.job_control import signal_of
from pmix_server.name_service import asked_range, range_of, wanted_keys
from pmix_server.names import Range
from pmix_server.values import Type

names = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
procs = st.builds(Proc, names, st.integers(0, 2**32 - 1))
plain = st.one_of(
    st.tuples(st.just(int(Type.STRING)), names),
    st.tuples(st.just(int(Type.UINT32)), st.integers(0, 2**32 - 1)),
    st.tuples(st.just(int(Type.BOOL)), st.booleans()),
    st.tuples(st.just(int(Type.BYTE_OBJECT)), st.binary(max_size=8)),
    st.tuples(st.just(int(Type.PROC)), procs),
    st.tuples(st.just(int(Type.ENVAR)), st.tuples(names, names, st.integers(0, 255))),
    st.tuples(st.just(0), st.none()),
)
infos = st.builds(lambda key, value: Info(key, *value), names, plain)
arrays = st.one_of(
    st.tuples(st.just(int(Type.INFO)), st.lists(infos, max_size=3)),
    st.tuples(st.just(int(Type.PROC)), st.lists(procs, max_size=3)),
)
nested = st.builds(lambda key, value: Info(key, int(Type.DATA_ARRAY), value), names, arrays)


@given(st.lists(st.one_of(infos, nested), max_size=4))
def test_infos_arrive_as_they_were_sent(sent: list[Info]) -> None:
    body = msgpack.unpackb(msgpack.packb(portable.encode(sent)))
    assert portable.decode(body) == sent


@pytest.mark.parametrize(
    "info",
    [
        Info("k", 999, NotImplemented),
        Info("k", Type.DATA_ARRAY, (Type.INFO, [Info("in", 999, NotImplemented)])),
        Info("k", Type.DATA_ARRAY, (Type.VALUE, [(999, NotImplemented)])),
    ],
)
def test_a_value_that_is_not_handled_is_refused(info: Info) -> None:
    with pytest.raises(PmixError) as refused:
        portable.encode([info])
    assert refused.value.status == Status.ERR_NOT_SUPPORTED


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.integers(1, 2**64 - 1))
def test_the_shares_of_a_group_give_its_number_and_all_data(
    parts: list[bytes], number: int
) -> None:
    shares = [HEADER.pack(number if not index else 0, len(p)) + p for index, p in enumerate(parts)]
    assert join_shares(b"".join(shares)) == (number, b"".join(parts))


@pytest.mark.parametrize(
    ("key", "value", "number"),
    [
        (keys.JOB_CTRL_KILL, True, signal.SIGKILL),
        (keys.JOB_CTRL_TERMINATE, None, signal.SIGTERM),
        (keys.JOB_CTRL_PAUSE, True, signal.SIGSTOP),
        (keys.JOB_CTRL_RESUME, True, signal.SIGCONT),
        (keys.JOB_CTRL_SIGNAL, 10, signal.SIGUSR1),
    ],
)
def test_a_control_is_a_signal(key: str, value: Any, number: int) -> None:
    assert signal_of([(key, Type.BOOL, value)]) == number


@pytest.mark.parametrize(
    ("infos", "status"),
    [
        ([], Status.ERR_NOT_SUPPORTED),
        ([(keys.JOB_CTRL_KILL, Type.BOOL, False)], Status.ERR_NOT_SUPPORTED),
        ([(keys.JOB_CTRL_SIGNAL, Type.INT, 0)], Status.ERR_BAD_PARAM),
        ([(keys.JOB_CTRL_SIGNAL, Type.STRING, "TERM")], Status.ERR_BAD_PARAM),
    ],
)
def test_a_control_that_is_no_signal_is_refused(infos: list[Info], status: int) -> None:
    with pytest.raises(PmixError) as refused:
        signal_of(infos)
    assert refused.value.status == status


@pytest.mark.parametrize(("given_", "wanted"), [(None, 0), (0, 3), (2, 2), (9, 3), (True, 3)])
def test_a_lookup_waits_for_as_many_keys_as_it_says(given_: Any, wanted: int) -> None:
    infos = [] if given_ is None else [(keys.WAIT, Type.INT, given_)]
    assert wanted_keys(infos, 3) == wanted


def test_a_range_that_is_none_is_refused_where_it_decides() -> None:
    wrong = [(keys.RANGE, Type.DATA_RANGE, 77)]
    assert asked_range(wrong) is None
    assert range_of([]) is Range.SESSION
    with pytest.raises(PmixError) as refused:
        range_of(wrong)
    assert refused.value.status == Status.ERR_BAD_PARAM
