"""Progress of the slow steps: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Steps = Callable[[str], AbstractContextManager[None]]
"""Called with what is about to happen; the context lasts as long as it does."""


def silent(_text: str) -> AbstractContextManager[None]:
    """Show nothing (for the Python interface)."""
    return nullcontext()


@contextmanager
def plain(text: str) -> Iterator[None]:
    """One line when a step begins, one with its seconds when it has ended."""
    print(f"... {text}", file=sys.stderr, flush=True)
    begun = time.monotonic()
    yield
    print(f"    {text}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """A line that turns while the step lasts and stays with its seconds."""
    # rich is needed on a terminal only, and costs 60 ms of start-up.
    from rich.console import Console

    console = Console(stderr=True)
    begun = time.monotonic()
    with console.status(text):
        yield
    console.print(f"[green]✓[/green] {text} [dim]{time.monotonic() - begun:.1f} s[/dim]")


def steps_for_stderr() -> Steps:
    """The form of progress that fits where stderr goes."""
    return spinner if sys.stderr.isatty() else plain
