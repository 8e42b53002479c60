"""Exceptions of this package: one sentence what is wrong, one saying what to do."""

from __future__ import annotations


class CpusetsError(Exception):
    """Base of all errors raised here.

    `message` says what is wrong and `hint` what the user can do about it; callers that have
    their own way of reporting (an exit code, a table) read these two attributes.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class CpuListError(CpusetsError, ValueError):
    """A CPU list, mask or byte string that cannot be read as a set of CPUs."""


class TopologyError(CpusetsError):
    """The hardware description cannot be loaded (no hwloc, bad XML, bad synthetic string)."""


class PlanError(CpusetsError):
    """The request cannot be satisfied on this node."""


class BindingError(CpusetsError):
    """The kernel refused a binding, or bound something else than what was asked."""


class ReportError(CpusetsError):
    """A file that is no affinity report."""
