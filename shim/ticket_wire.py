"""The codec of the wire between a rank's front-end and its agent (pure).

A frame is a u32 length and that many bytes of fields; a field is u16 tag, u16 zero, u32 length,
bytes; integers are little-endian. The first field is KIND. Lists are repeated fields. Namespace
descriptors travel beside a Ticket as SCM_RIGHTS, one for each NAMESPACE field, in that order.

Standard library only: the package's build reads the constants (shim/_options_header.py).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum

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

PROTOCOL = 1
"""Raised when a frame's meaning changes; front-end and agent of different builds must refuse."""

MAX_FRAME = 16 << 20
"""Bytes. execve(2) takes at most 6 MB of arguments and environment, so no true frame is longer."""

_LENGTH = struct.Struct("<I")
_FIELD = struct.Struct("<HHI")
_U32 = struct.Struct("<I")
_CAPABILITIES = struct.Struct("<QQQ")


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    PROGRESS = 2
    TICKET = 3
    FALLBACK = 4
    REFUSE = 5
    BOUND = 6
    EXEC_FAILED = 7
    CONTROL = 8
    REPLY = 9


class Tag(IntEnum):
    """What a field is."""

    KIND = 1
    PROTOCOL = 2
    RANK = 3
    OPTION = 4
    COMMAND = 5
    CWD = 6
    ENV = 7
    CPUS = 8
    UMASK = 9
    TEXT = 10
    NAMESPACE = 11
    HOME = 12
    CWD_REQUIRED = 13
    MEMORY_POLICY = 14
    NO_NEW_PRIVS = 15
    CAPABILITIES = 16
    EXIT_CODE = 17
    PID = 18
    ERRNO = 19
    NOTE = 20


class MalformedFrame(ValueError):
    """The peer sent what is not a frame of this protocol; its text says what is wrong."""


_Fields = list[tuple[Tag, bytes]]


def encode(frame: Frame) -> bytes:
    """The frame with its length in front.

    Raises:
        MalformedFrame: it would be longer than MAX_FRAME.
    """
    match frame:
        case Hello():
            kind, fields = Kind.HELLO, _hello_fields(frame)
        case Progress(text=text):
            kind, fields = Kind.PROGRESS, [(Tag.TEXT, _bytes(text))]
        case Ticket():
            kind, fields = Kind.TICKET, _ticket_fields(frame)
        case Fallback():
            kind, fields = Kind.FALLBACK, _fallback_fields(frame)
        case Refuse(exit_code=code, text=text):
            kind, fields = Kind.REFUSE, [(Tag.EXIT_CODE, _U32.pack(code)), (Tag.TEXT, _bytes(text))]
        case Bound(cpus=cpus, pid=pid):
            kind, fields = Kind.BOUND, [(Tag.CPUS, cpus), (Tag.PID, _U32.pack(pid))]
        case ExecFailed(errno=number, path=path):
            kind = Kind.EXEC_FAILED
            fields = [(Tag.ERRNO, _U32.pack(number)), (Tag.TEXT, _bytes(path))]
        case Control(words=words):
            kind, fields = Kind.CONTROL, _control_fields(words)
        case Reply(exit_code=code, text=text):
            kind, fields = Kind.REPLY, [(Tag.EXIT_CODE, _U32.pack(code)), (Tag.TEXT, _bytes(text))]
    return _frame([(Tag.KIND, _U32.pack(kind)), *fields])


def _hello_fields(hello: Hello) -> _Fields:
    return [
        (Tag.PROTOCOL, _U32.pack(PROTOCOL)),
        (Tag.RANK, _U32.pack(hello.rank)),
        *((Tag.OPTION, _bytes(word)) for word in hello.options),
        *((Tag.COMMAND, _bytes(word)) for word in hello.command),
        (Tag.CWD, _bytes(hello.cwd)),
        *_environment_fields(hello.env),
        (Tag.CPUS, hello.cpus),
        (Tag.UMASK, _U32.pack(hello.umask)),
    ]


def _ticket_fields(ticket: Ticket) -> _Fields:
    fields: _Fields = [(Tag.NAMESPACE, _U32.pack(space.flag)) for space in ticket.namespaces]
    fields += _environment_fields(ticket.env)
    fields += [(Tag.CWD, _bytes(ticket.cwd)), (Tag.HOME, _bytes(ticket.home))]
    fields.append((Tag.CWD_REQUIRED, _U32.pack(ticket.cwd_required)))
    fields.append((Tag.NO_NEW_PRIVS, _U32.pack(ticket.no_new_privs)))
    if ticket.cpus is not None:
        fields.append((Tag.CPUS, ticket.cpus))
    if ticket.memory_policy is not None:
        policy = ticket.memory_policy
        fields.append((Tag.MEMORY_POLICY, _U32.pack(policy.mode) + policy.nodes))
    if ticket.capabilities is not None:
        sets = ticket.capabilities
        packed = _CAPABILITIES.pack(sets.bounding, sets.inheritable, sets.ambient)
        fields.append((Tag.CAPABILITIES, packed))
    if ticket.umask is not None:
        fields.append((Tag.UMASK, _U32.pack(ticket.umask)))
    return fields + [(Tag.NOTE, _bytes(note)) for note in ticket.notes]


def _control_fields(words: tuple[str, ...]) -> _Fields:
    return [
        (Tag.PROTOCOL, _U32.pack(PROTOCOL)),
        *((Tag.COMMAND, _bytes(word)) for word in words),
    ]


def _fallback_fields(fallback: Fallback) -> _Fields:
    fields: _Fields = [(Tag.COMMAND, _bytes(word)) for word in fallback.argv]
    fields += _environment_fields(fallback.env)
    if fallback.cpus is not None:
        fields.append((Tag.CPUS, fallback.cpus))
    return fields + [(Tag.NOTE, _bytes(note)) for note in fallback.notes]


def _environment_fields(env: Mapping[str, str]) -> _Fields:
    return [(Tag.ENV, _bytes(f"{name}={value}")) for name, value in env.items()]


def _bytes(text: str) -> bytes:
    data = os.fsencode(text)
    if b"\0" in data:
        raise MalformedFrame(f"a NUL byte in {text!r}")
    return data


def _frame(fields: _Fields) -> bytes:
    parts: list[bytes] = []
    for tag, data in fields:
        parts += [_FIELD.pack(tag, 0, len(data)), data]
    body = b"".join(parts)
    if len(body) > MAX_FRAME:
        raise MalformedFrame(f"a frame of {len(body)} bytes; at most {MAX_FRAME} are allowed")
    return _LENGTH.pack(len(body)) + body


def frame_length(data: bytes | bytearray) -> int | None:
    """Length of the first frame in *data*, its own four bytes included; None: not yet known.

    Raises:
        MalformedFrame: the peer announced more than MAX_FRAME bytes.
    """
    if len(data) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(data)
    if length > MAX_FRAME:
        raise MalformedFrame(f"a frame of {length} bytes; at most {MAX_FRAME} are allowed")
    return _LENGTH.size + int(length)


def decode(data: bytes, fds: tuple[int, ...] = ()) -> Frame:
    """One whole frame, with the descriptors that came with it.

    Raises:
        MalformedFrame: anything in it is not as `encode` writes it.
    """
    if frame_length(data) != len(data):
        raise MalformedFrame("the frame's length is not that of its bytes")
    fields = _Reader(_parse(data))
    try:
        kind = Kind(fields.u32(Tag.KIND))
    except ValueError as error:
        raise MalformedFrame(f"unknown kind of frame: {error}") from error
    frame = _decode_kind(kind, fields, fds)
    fields.finish()
    return frame


def _decode_kind(kind: Kind, fields: _Reader, fds: tuple[int, ...]) -> Frame:
    match kind:
        case Kind.HELLO:
            return _decode_hello(fields)
        case Kind.PROGRESS:
            return Progress(fields.text(Tag.TEXT))
        case Kind.TICKET:
            return _decode_ticket(fields, fds)
        case Kind.FALLBACK:
            return Fallback(
                argv=fields.texts(Tag.COMMAND),
                env=fields.environment(),
                cpus=fields.data_or_none(Tag.CPUS),
                notes=fields.texts(Tag.NOTE),
            )
        case Kind.REFUSE:
            return Refuse(fields.u32(Tag.EXIT_CODE), fields.text(Tag.TEXT))
        case Kind.BOUND:
            return Bound(fields.data(Tag.CPUS), fields.u32(Tag.PID))
        case Kind.EXEC_FAILED:
            return ExecFailed(fields.u32(Tag.ERRNO), fields.text(Tag.TEXT))
        case Kind.CONTROL:
            _check_protocol(fields)
            return Control(fields.texts(Tag.COMMAND))
        case Kind.REPLY:
            return Reply(fields.u32(Tag.EXIT_CODE), fields.text(Tag.TEXT))


def _check_protocol(fields: _Reader) -> None:
    protocol = fields.u32(Tag.PROTOCOL)
    if protocol != PROTOCOL:
        raise MalformedFrame(
            f"the front-end speaks protocol {protocol} and this agent {PROTOCOL}: "
            "they are of different builds"
        )


def _decode_hello(fields: _Reader) -> Hello:
    _check_protocol(fields)
    return Hello(
        rank=fields.u32(Tag.RANK),
        options=fields.texts(Tag.OPTION),
        command=fields.texts(Tag.COMMAND),
        cwd=fields.text(Tag.CWD),
        env=fields.environment(),
        cpus=fields.data(Tag.CPUS),
        umask=fields.u32(Tag.UMASK),
    )


def _decode_ticket(fields: _Reader, fds: tuple[int, ...]) -> Ticket:
    flags = fields.u32s(Tag.NAMESPACE)
    if len(flags) != len(fds):
        raise MalformedFrame(f"{len(flags)} namespaces and {len(fds)} descriptors")
    policy = fields.data_or_none(Tag.MEMORY_POLICY)
    sets = fields.data_or_none(Tag.CAPABILITIES)
    umask = fields.data_or_none(Tag.UMASK)
    return Ticket(
        namespaces=tuple(Namespace(flag, fd) for flag, fd in zip(flags, fds, strict=True)),
        env=fields.environment(),
        cwd=fields.text(Tag.CWD),
        home=fields.text(Tag.HOME),
        cwd_required=bool(fields.u32(Tag.CWD_REQUIRED)),
        cpus=fields.data_or_none(Tag.CPUS),
        memory_policy=None
        if policy is None
        else MemoryPolicy(_unpack(_U32, policy[: _U32.size]), policy[_U32.size :]),
        no_new_privs=bool(fields.u32(Tag.NO_NEW_PRIVS)),
        capabilities=None if sets is None else _capabilities(sets),
        umask=None if umask is None else _unpack(_U32, umask),
        notes=fields.texts(Tag.NOTE),
    )


def _capabilities(data: bytes) -> Capabilities:
    if len(data) != _CAPABILITIES.size:
        raise MalformedFrame(f"capability sets of {len(data)} bytes")
    return Capabilities(*_CAPABILITIES.unpack(data))


def _parse(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = _LENGTH.size
    while at < len(data):
        if len(data) - at < _FIELD.size:
            raise MalformedFrame("a field is cut off")
        tag, zero, length = _FIELD.unpack_from(data, at)
        at += _FIELD.size
        if zero:
            raise MalformedFrame(f"field {tag} has a non-zero reserved word")
        if length > len(data) - at:
            raise MalformedFrame(f"field {tag} is longer than its frame")
        yield tag, data[at : at + length]
        at += length


def _unpack(form: struct.Struct, data: bytes) -> int:
    if len(data) != form.size:
        raise MalformedFrame(f"a number of {len(data)} bytes where {form.size} are due")
    return int(form.unpack(data)[0])


class _Reader:
    """The fields of one frame by tag; `finish` refuses those that nobody asked for."""

    def __init__(self, fields: Iterator[tuple[int, bytes]]) -> None:
        self._fields: dict[int, list[bytes]] = {}
        for tag, data in fields:
            self._fields.setdefault(tag, []).append(data)

    def finish(self) -> None:
        if self._fields:
            raise MalformedFrame(f"unexpected fields {sorted(self._fields)}")

    def data_or_none(self, tag: Tag) -> bytes | None:
        found = self._fields.pop(tag, [])
        if len(found) > 1:
            raise MalformedFrame(f"{tag.name} stands {len(found)} times")
        return found[0] if found else None

    def data(self, tag: Tag) -> bytes:
        found = self.data_or_none(tag)
        if found is None:
            raise MalformedFrame(f"{tag.name} is missing")
        return found

    def u32(self, tag: Tag) -> int:
        return _unpack(_U32, self.data(tag))

    def u32s(self, tag: Tag) -> tuple[int, ...]:
        return tuple(_unpack(_U32, data) for data in self._fields.pop(tag, []))

    def text(self, tag: Tag) -> str:
        return _text(self.data(tag))

    def texts(self, tag: Tag) -> tuple[str, ...]:
        return tuple(_text(data) for data in self._fields.pop(tag, []))

    def environment(self) -> dict[str, str]:
        env: dict[str, str] = {}
        for word in self.texts(Tag.ENV):
            name, equals, value = word.partition("=")
            if equals:
                # The first of two entries of one name wins, as in getenv(3).
                env.setdefault(name, value)
        return env


def _text(data: bytes) -> str:
    if b"\0" in data:
        raise MalformedFrame("a NUL byte in a text")
    return os.fsdecode(data)
