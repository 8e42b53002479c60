"""Run by test_values.py in an interpreter of its own, under AddressSanitizer and UBSan."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pmix_server.values import Type

sys.path.insert(0, sys.argv[1])
probe: Any = importlib.import_module("values_probe")

LIMITS = {
    Type.SIZE: (0, 2**64 - 1),
    Type.PID: (-(2**31), 2**31 - 1),
    Type.INT: (-(2**31), 2**31 - 1),
    Type.INT8: (-128, 127),
    Type.INT16: (-(2**15), 2**15 - 1),
    Type.INT32: (-(2**31), 2**31 - 1),
    Type.INT64: (-(2**63), 2**63 - 1),
    Type.UINT: (0, 2**32 - 1),
    Type.UINT8: (0, 255),
    Type.UINT16: (0, 2**16 - 1),
    Type.UINT32: (0, 2**32 - 1),
    Type.UINT64: (0, 2**64 - 1),
    Type.STATUS: (-(2**31), 2**31 - 1),
    Type.PROC_RANK: (0, 2**32 - 1),
    Type.TIME: (-(2**63), 2**63 - 1),
    Type.BYTE: (0, 255),
}
text = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=50)
proc = st.tuples(st.text("abc.", max_size=255), st.integers(0, 2**32 - 1))
byte_kinds = st.sampled_from([Type.BYTE_OBJECT, Type.REGEX, Type.COMPRESSED_BYTE_OBJECT])
simple = st.one_of(
    *(st.tuples(st.just(t), st.integers(*limits)) for t, limits in LIMITS.items()),
    st.tuples(st.just(Type.BOOL), st.booleans()),
    st.tuples(st.just(Type.DOUBLE), st.floats(allow_nan=False)),
    st.tuples(st.just(Type.STRING), text),
    st.tuples(byte_kinds, st.binary(max_size=100)),
    st.tuples(st.just(Type.PROC), proc),
    st.tuples(st.just(Type.PROC_NSPACE), st.text("xyz", max_size=255)),
    st.tuples(st.just(Type.ENVAR), st.tuples(text, text, st.integers(0, 127))),
    st.tuples(
        st.just(Type.PROC_INFO),
        st.tuples(
            proc, text, text, st.integers(1, 2**22), st.integers(-128, 255), st.integers(0, 60)
        ),
    ),
)
key = st.text("abc.", min_size=1, max_size=511)


def arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    infos = st.lists(st.tuples(key, inner).map(lambda pair: (pair[0], *pair[1])), max_size=4)
    return st.one_of(
        st.tuples(st.just(Type.DATA_ARRAY), st.tuples(st.just(Type.INFO), infos)),
        st.tuples(
            st.just(Type.DATA_ARRAY), st.tuples(st.just(Type.VALUE), st.lists(inner, max_size=4))
        ),
        st.tuples(
            st.just(Type.DATA_ARRAY), st.tuples(st.just(Type.STRING), st.lists(text, max_size=4))
        ),
        st.tuples(
            st.just(Type.DATA_ARRAY), st.tuples(st.just(Type.PROC), st.lists(proc, max_size=4))
        ),
    )


values = st.recursive(simple, arrays, max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(key, values), max_size=6))
def comes_back(items: list[Any]) -> None:
    infos = [(name, kind, data) for name, (kind, data) in items]
    assert probe.roundtrip(infos) == infos


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(LIMITS)), st.integers(-(2**66), 2**66))
def what_does_not_fit_is_refused(kind: Type, number: int) -> None:
    low, high = LIMITS[kind]
    try:
        assert probe.roundtrip([("k", kind, number)]) == [("k", kind, number)]
        assert low <= number <= high
    except OverflowError:
        assert not low <= number <= high


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 500),
    st.one_of(
        st.none(),
        st.text(),
        st.binary(),
        st.integers(),
        st.lists(st.none(), max_size=2),
        proc,
        st.tuples(st.integers(0, 70), st.lists(st.one_of(st.none(), st.integers(), st.text()))),
    ),
)
def wrong_data_is_an_exception(kind: int, data: Any) -> None:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        probe.roundtrip([("k", kind, data)])


def types_that_are_not_handled_are_named_not_read() -> None:
    handled = {int(t) for t in Type}
    for number in range(1, 500):
        if number not in handled:
            assert probe.foreign(number) == (number, NotImplemented)


for check in (
    comes_back,
    what_does_not_fit_is_refused,
    wrong_data_is_an_exception,
    types_that_are_not_handled_are_named_not_read,
):
    check()
print("all values came back")
