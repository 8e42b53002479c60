"""What a user asks of a running agent (`shim partition`), by words over its socket."""

from __future__ import annotations

from collections.abc import Sequence

from cpusets import CpusetsError
from cpusets.tables import Column, render
from shim.agent.shares import Shares
from shim.errors import ShimError
from shim.ticket import Reply


def answer(words: Sequence[str], shares: Shares | None) -> Reply:
    """Carry out `partition list` or `partition set NAME SIZE [DONOR...]`."""
    try:
        return Reply(0, _carried_out(words, shares))
    except ShimError as error:
        return Reply(error.exit_code, str(error))
    except CpusetsError as error:
        return Reply(1, f"{error.message} {error.hint}".strip())


def _carried_out(words: Sequence[str], shares: Shares | None) -> str:
    if shares is None:
        raise ShimError(
            "This step has no partitions.", "Declare them with --partitions when it starts."
        )
    match words:
        case ["partition", "list"]:
            pass
        case ["partition", "set", name, size, *donors]:
            shares.resize(name, size, donors)
        case _:
            raise ShimError(f"The agent does not know {' '.join(words)!r}.", "Use one build of it.")
    columns = [Column("partition"), Column("CPUs"), Column("kind"), Column("processes")]
    return render(columns, shares.describe())
