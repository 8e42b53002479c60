"""Calls of libpmix that block, kept off the event loop and bounded in time.

A worker of the loop's executor would be joined at the interpreter's end; a call that libpmix
never returns from (its locks have been seen to hang in 4.2.2 after it refused a client) would
then keep the process for ever. So each call has a daemon thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from pmix_server._pmixcore import PMIxError
from pmix_server.errors import PmixError
from pmix_server.status import Status

T = TypeVar("T")


async def call(
    what: str, function: Callable[..., T], *args: object, limit: float, hint: str = ""
) -> T:
    """Run *function* in a thread; its result.

    Args:
        what: the call in words, for the error.
        limit: seconds; after them the call is left to itself.

    Raises:
        PmixError: with libpmix's status, or PMIX_ERR_TIMEOUT.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = function(*args)
        except BaseException as caught:
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name=f"pmix: {what}", daemon=True).start()
    try:
        async with asyncio.timeout(limit):
            return await result
    except PMIxError as error:
        raise PmixError.of_call(what, error.args[0], hint) from None
    except TimeoutError:
        raise PmixError(
            f"{what} did not end within {limit:g} s.", hint, status=Status.ERR_TIMEOUT
        ) from None
