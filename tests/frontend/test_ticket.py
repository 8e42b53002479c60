"""The codec of the wire between front-end and agent."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.ticket import (
    Bound,
    Capabilities,
    Control,
    ExecFailed,
    Fallback,
    Frame,
    Hello,
    MemoryPolicy,
    Namespace,
    Progress,
    Refuse,
    Reply,
    Ticket,
)
from shim.ticket_wire import MAX_FRAME, MalformedFrame, decode, encode, frame_length

text = st.binary(max_size=30).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
texts = st.lists(text, max_size=5).map(tuple)
names = text.filter(lambda name: "=" not in name)
environments = st.dictionaries(names, text, max_size=5)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
masks = st.binary(max_size=40)

frames = st.one_of(
    st.builds(Hello, u32, texts, texts, text, environments, masks, u32),
    st.builds(Progress, text),
    st.builds(
        Ticket,
        st.lists(st.builds(Namespace, u32, st.integers(3, 99)), max_size=4).map(tuple),
        environments,
        text,
        text,
        st.booleans(),
        st.none() | masks,
        st.none() | st.builds(MemoryPolicy, u32, masks),
        st.booleans(),
        st.none() | st.builds(Capabilities, u64, u64, u64),
        st.none() | u32,
        texts,
    ),
    st.builds(Fallback, texts, environments, st.none() | masks, texts),
    st.builds(Refuse, u32, text),
    st.builds(Bound, masks, u32),
    st.builds(ExecFailed, u32, text),
    st.builds(Control, texts),
    st.builds(Reply, u32, text),
)


def fds_of(frame: Frame) -> tuple[int, ...]:
    return tuple(space.fd for space in frame.namespaces) if isinstance(frame, Ticket) else ()


@given(frames)
def test_what_is_encoded_is_decoded(frame: Frame) -> None:
    assert decode(encode(frame), fds_of(frame)) == frame


@given(frames, st.integers(0, 60))
def test_the_length_is_known_from_four_bytes_on(frame: Frame, cut: int) -> None:
    data = encode(frame)
    assert frame_length(data[:cut]) == (len(data) if cut >= 4 else None)


@given(frames, st.data())
def test_a_frame_cut_short_is_refused(frame: Frame, data: st.DataObject) -> None:
    whole = encode(frame)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MalformedFrame):
        decode(whole[:cut], fds_of(frame))


@given(frames, st.data())
def test_a_changed_byte_never_does_more_than_be_refused(frame: Frame, data: st.DataObject) -> None:
    whole = bytearray(encode(frame))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(MalformedFrame):
        decode(bytes(whole), fds_of(frame))


@given(st.binary(max_size=200))
def test_bytes_of_anyone_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode(struct.pack("<I", len(data)) + data)


def test_an_environment_of_a_megabyte_travels() -> None:
    hello = Hello(0, (), ("true",), "/", {f"V{i}": "x" * 1000 for i in range(1000)}, b"\1", 0o22)
    assert decode(encode(hello)) == hello


def test_a_frame_of_64_megabytes_is_refused_on_both_sides() -> None:
    with pytest.raises(MalformedFrame, match="at most"):
        encode(Progress("x" * (64 << 20)))
    with pytest.raises(MalformedFrame, match="at most"):
        frame_length(struct.pack("<I", 64 << 20))
    assert frame_length(struct.pack("<I", MAX_FRAME)) == MAX_FRAME + 4


def test_descriptors_must_match_the_namespaces() -> None:
    data = encode(Ticket((Namespace(1, 5),), {}, "/", "/"))
    with pytest.raises(MalformedFrame, match="1 namespaces and 0 descriptors"):
        decode(data)


def test_another_protocol_is_named() -> None:
    data = encode(Hello(0, (), ("true",), "/", {}, b"", 0)).replace(
        struct.pack("<HHII", 2, 0, 4, 1), struct.pack("<HHII", 2, 0, 4, 9)
    )
    with pytest.raises(MalformedFrame, match="protocol 9"):
        decode(data)


def test_a_nul_byte_cannot_be_sent() -> None:
    with pytest.raises(MalformedFrame, match="NUL"):
        encode(Refuse(125, "a\0b"))
