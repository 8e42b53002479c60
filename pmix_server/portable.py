"""Typed PMIx values as message bodies, which know lists but no tuples.

Encoding is the identity: every value is made of what a message can carry. Decoding makes those
lists into tuples again that `_pmixcore` wants as tuples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pmix_server.errors import PmixError
from pmix_server.status import Status
from pmix_server.values import Info, Proc, Type


def encode(infos: Iterable[tuple[str, int, Any]]) -> list[list[Any]]:
    """Infos as a message body.

    Raises:
        PmixError: PMIX_ERR_NOT_SUPPORTED, a value of a type that is not handled.
    """
    body = [list(info) for info in infos]
    for key, number, value in body:
        _check(key, number, value)
    return body


def _check(key: str, number: int, value: Any) -> None:
    if value is NotImplemented:
        raise PmixError(
            f"The value of {key} has PMIx type {number}, which is not carried between nodes.",
            status=Status.ERR_NOT_SUPPORTED,
        )
    if number == Type.DATA_ARRAY and value is not None:
        for item in value[1]:
            nested = item[1:] if value[0] == Type.INFO else (value[0], item)
            _check(key, *(item if value[0] == Type.VALUE else nested))


def decode(body: Sequence[Sequence[Any]]) -> list[Info]:
    """Infos from a message body."""
    return [Info(key, number, decode_value(number, value)) for key, number, value in body]


def decode_value(number: int, value: Any) -> Any:
    """The data of one value of type *number*."""
    if value is None:
        return None
    if number == Type.PROC:
        return Proc(*value)
    if number == Type.ENVAR:
        return tuple(value)
    if number == Type.PROC_INFO:
        return (Proc(*value[0]), *value[1:])
    if number == Type.INFO:
        return Info(value[0], value[1], decode_value(value[1], value[2]))
    if number == Type.VALUE:
        return (value[0], decode_value(*value))
    if number == Type.DATA_ARRAY:
        return (value[0], [decode_value(value[0], item) for item in value[1]])
    return value
