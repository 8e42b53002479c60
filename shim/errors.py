"""The one exception that users see: what is wrong, what to do, and the cause.

Every error that reaches a user is a `ShimError`. Its text is two sentences, its `__cause__` is
the exception that led to it, and its exit code is one of those in docs/exit-codes.md.
"""

from __future__ import annotations

EXIT_SHIM = 125
"""The shim could not start the program (docs/exit-codes.md)."""
EXIT_NOT_EXECUTABLE = 126
"""The program was found in the container but could not be executed."""
EXIT_NOT_FOUND = 127
"""The program was not found in the container."""


class ShimError(Exception):
    """A failure that is presentable to the user.

    Args:
        message: one sentence saying what is wrong.
        hint: one sentence saying what to do about it.
        exit_code: what the command ends with.
        transient: whether the same call may succeed later without any change by the user.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        exit_code: int = EXIT_SHIM,
        transient: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.transient = transient

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()
