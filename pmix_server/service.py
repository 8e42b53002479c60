"""What answers requests of ranks: a table from the kind of a request to its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pmix_server._pmixcore import Request
from pmix_server.values import Proc

Handler = Callable[[Request, float | None], Awaitable[Any]]
"""Takes a request and its time limit in seconds; gives the payload of `Request.answer`. An
exception with an attribute `status` answers that status."""


@dataclass(frozen=True)
class Reply:
    """A payload that comes with another status than PMIX_SUCCESS."""

    status: int
    payload: Any


class Service(Protocol):
    """One group of calls of the standard."""

    @property
    def answers(self) -> Mapping[str, Handler]:
        """By the name that the C extension gives to the upcall."""

    def process_ended(self, proc: Proc) -> None:
        """A rank of this node has called PMIx_Finalize or is gone."""
