"""Tables for terminals, at most 100 columns wide. rich is imported only when one is drawn."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading, and whether its cells are numbers."""

    name: str
    right: bool = False


def render(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """The table as text, long cells folded, no trailing blanks."""
    from rich import box  # costs 40 ms: only where a table is wanted
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify = "right" if column.right else "left"
        table.add_column(column.name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*row)
    out = io.StringIO()
    Console(file=out, width=WIDTH, color_system=None, force_terminal=False, markup=False).print(
        table
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n") + "\n"
