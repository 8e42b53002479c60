"""Typed values as PMIx carries them: processes, infos, and the types' numbers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple

RANK_UNDEF = 0xFFFFFFFF
RANK_WILDCARD = 0xFFFFFFFE
"""Every rank of a namespace; as the subject of a key, the job itself (pmix_common.h)."""


class Type(IntEnum):
    """pmix_data_type_t, the types that are handled (pmix_common.h)."""

    BOOL = 1
    BYTE = 2
    STRING = 3
    SIZE = 4
    PID = 5
    INT = 6
    INT8 = 7
    INT16 = 8
    INT32 = 9
    INT64 = 10
    UINT = 11
    UINT8 = 12
    UINT16 = 13
    UINT32 = 14
    UINT64 = 15
    FLOAT = 16
    DOUBLE = 17
    TIMEVAL = 18
    TIME = 19
    STATUS = 20
    VALUE = 21
    PROC = 22
    INFO = 24
    BYTE_OBJECT = 27
    PERSIST = 30
    SCOPE = 32
    DATA_RANGE = 33
    COMMAND = 34
    INFO_DIRECTIVES = 35
    DATA_TYPE = 36
    PROC_STATE = 37
    PROC_INFO = 38
    DATA_ARRAY = 39
    PROC_RANK = 40
    COMPRESSED_STRING = 42
    ALLOC_DIRECTIVE = 43
    IOF_CHANNEL = 45
    ENVAR = 46
    REGEX = 49
    JOB_STATE = 50
    LINK_STATE = 51
    DEVTYPE = 57
    LOCTYPE = 58
    COMPRESSED_BYTE_OBJECT = 59
    PROC_NSPACE = 60


class Scope(IntEnum):
    """pmix_scope_t: who may see what a process puts."""

    LOCAL = 1
    REMOTE = 2
    GLOBAL = 3


class Proc(NamedTuple):
    """A process, or with RANK_WILDCARD all of its namespace."""

    nspace: str
    rank: int


class Info(NamedTuple):
    """A key with a typed value: the form in which PMIx takes attributes and job data.

    `value` is an int, bool, float or str; bytes for byte objects and regexes; a Proc; for
    DATA_ARRAY a pair (element type, list of elements); None for no value; NotImplemented for
    a type that is not handled.
    """

    key: str
    type: int
    value: Any


class Value(NamedTuple):
    """A typed value without a key."""

    type: int
    data: Any


def string(key: str, text: str) -> Info:
    return Info(key, Type.STRING, text)


def uint32(key: str, number: int) -> Info:
    return Info(key, Type.UINT32, number)


def uint16(key: str, number: int) -> Info:
    return Info(key, Type.UINT16, number)


def boolean(key: str, flag: bool) -> Info:
    return Info(key, Type.BOOL, flag)


def rank(key: str, number: int) -> Info:
    return Info(key, Type.PROC_RANK, number)


def array(key: str, infos: Iterable[Info]) -> Info:
    """A key whose value is an array of infos, such as one process's or one node's data."""
    return Info(key, Type.DATA_ARRAY, (Type.INFO, list(infos)))


def find(infos: Iterable[tuple[str, int, Any]], key: str) -> Any | None:
    """The value of a key, or None where it is absent."""
    return next((value for name, _, value in infos if name == key), None)
