"""How a request becomes a call of the host, and how its end becomes a status."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pmix_server import Info, PmixError, Proc, Status, dispatch, keys
from pmix_server._pmixcore import Request
from pmix_server.service import Handler
from pmix_server.values import Type


@dataclass
class Asked:
    """A request as the extension gives it, with what was answered."""

    kind: str
    infos: list[Info] = field(default_factory=list)
    source: tuple[str, int] = ("ns", 1)
    procs: list[tuple[str, int]] = field(default_factory=lambda: [("ns", 0xFFFFFFFE)])
    data: bytes = b"data"
    text: str = "why"
    status: int = 7
    answers: list[tuple[int, Any]] = field(default_factory=list)

    def answer(self, status: int, payload: Any = None) -> bool:
        self.answers.append((status, payload))
        return True


@dataclass
class Answering:
    """A host that notes its calls and ends each as it is told."""

    error: BaseException | None = None
    delay: float = 0
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    async def _end(self, *call: Any) -> bytes:
        self.calls.append(call)
        await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        return b"all"

    async def fence(
        self,
        procs: Sequence[Proc],
        data: bytes,
        collect: bool,
        timeout: float | None,
        *,
        status: int = 0,
    ) -> bytes:
        return await self._end("fence", procs, data, collect, timeout, status)

    async def direct_modex(self, proc: Proc, timeout: float | None) -> bytes:
        return await self._end("direct_modex", proc, timeout)

    async def abort(self, proc: Proc, status: int, message: str, procs: Sequence[Proc]) -> None:
        await self._end("abort", proc, status, message, procs)

    def client_connected(self, proc: Proc) -> None:
        self.calls.append(("connected", proc))

    def client_finalized(self, proc: Proc) -> None:
        self.calls.append(("finalized", proc))


def handler(host: Answering, request: Asked) -> Handler:
    return dispatch.handlers(host, ())[request.kind]


def answered(host: Answering, request: Asked) -> list[tuple[int, Any]]:
    asyncio.run(dispatch.answer(handler(host, request), cast(Request, request)))
    return request.answers


EVERYBODY = [Proc("ns", 0xFFFFFFFE)]


def test_a_fence_hands_over_its_directives() -> None:
    host = Answering()
    infos = [
        Info(keys.COLLECT_DATA, Type.BOOL, True),
        Info(keys.TIMEOUT, Type.INT, 30),
        Info(keys.LOCAL_COLLECTIVE_STATUS, Type.STATUS, -61),
        Info("pmix.unknown", 999, NotImplemented),
    ]
    assert answered(host, Asked("fence", infos)) == [(Status.SUCCESS, b"all")]
    assert host.calls == [("fence", EVERYBODY, b"data", True, 30.0, -61)]


def test_a_fence_without_directives_only_synchronises_and_has_no_limit() -> None:
    host = Answering()
    answered(host, Asked("fence"))
    assert host.calls == [("fence", EVERYBODY, b"data", False, None, 0)]


def test_an_abort_hands_over_status_and_message() -> None:
    host = Answering()
    assert answered(host, Asked("abort")) == [(Status.SUCCESS, None)]
    assert host.calls == [("abort", Proc("ns", 1), 7, "why", EVERYBODY)]


@pytest.mark.parametrize("kind", dispatch.ANSWERS)
def test_a_hosts_error_gives_its_own_status(kind: str) -> None:
    host = Answering(error=PmixError("no", status=Status.ERR_NOT_FOUND))
    assert answered(host, Asked(kind)) == [(Status.ERR_NOT_FOUND, None)]


@pytest.mark.parametrize("kind", dispatch.ANSWERS)
def test_an_unforeseen_error_gives_the_general_status(kind: str) -> None:
    assert answered(Answering(error=KeyError("bug")), Asked(kind)) == [(Status.ERROR, None)]


def test_the_ranks_time_limit_is_kept_even_if_the_host_is_late() -> None:
    host = Answering(delay=60)
    infos = [Info(keys.TIMEOUT, Type.DOUBLE, 0.05)]
    assert answered(host, Asked("direct_modex", infos)) == [(Status.ERR_TIMEOUT, None)]


def test_a_cancelled_request_is_answered() -> None:
    async def scenario(request: Asked) -> None:
        host = Answering(delay=60)
        task = asyncio.create_task(dispatch.answer(handler(host, request), cast(Request, request)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    request = Asked("fence")
    asyncio.run(scenario(request))
    assert request.answers == [(Status.ERR_NOT_AVAILABLE, None)]


@pytest.mark.parametrize("seconds", [0, -1, None])
def test_no_or_a_zero_time_limit_means_none(seconds: Any) -> None:
    infos = [] if seconds is None else [Info(keys.TIMEOUT, Type.INT, seconds)]
    assert dispatch.time_limit(cast(Request, Asked("fence", infos))) is None
