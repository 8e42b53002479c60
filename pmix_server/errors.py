"""What the PMIx room raises."""

from __future__ import annotations

from pmix_server.status import Status, status_name


class PmixError(Exception):
    """A PMIx call failed, or libpmix cannot be used here.

    Attributes:
        message: one sentence, what is wrong.
        hint: one sentence, what to do; may be empty.
        status: the PMIx status, as the standard numbers it.
    """

    def __init__(self, message: str, hint: str = "", *, status: int = Status.ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = int(status)

    @classmethod
    def of_call(cls, what: str, status: int, hint: str = "") -> PmixError:
        """The failure of one call of libpmix, named by what it was for."""
        return cls(f"{what} failed: {status_name(status)}.", hint, status=status)
