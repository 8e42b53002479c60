"""Status codes of the PMIx standard that this software gives or acts on (pmix_common.h; the
numbers are the same in libpmix 4.2, 5.0 and 6.1)."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    SUCCESS = 0
    ERROR = -1
    PROC_REQUESTED_ABORT = -8
    ERR_EXISTS = -11
    ERR_INVALID_CRED = -12
    ERR_NO_PERMISSIONS = -23
    ERR_TIMEOUT = -24
    ERR_UNREACH = -25
    ERR_BAD_PARAM = -27
    ERR_OUT_OF_RESOURCE = -29
    ERR_INIT = -31
    ERR_NOMEM = -32
    ERR_NOT_FOUND = -46
    ERR_NOT_SUPPORTED = -47
    ERR_COMM_FAILURE = -49
    ERR_PARTIAL_SUCCESS = -52
    ERR_DUPLICATE_KEY = -53
    ERR_LOST_CONNECTION = -61
    ERR_NOT_AVAILABLE = -64
    OPERATION_SUCCEEDED = -157
    ERR_INVALID_OPERATION = -158
    ERR_JOB_ABORTED = -182


def status_name(status: int) -> str:
    """``PMIX_ERR_TIMEOUT (-24)``; the bare number for a code that is not in the table."""
    try:
        return f"PMIX_{Status(status).name} ({status})"
    except ValueError:
        return f"PMIx status {status}"
