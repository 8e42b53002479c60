"""Ending the ranks of this node by signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from shim.agent.life import RankTable


class RankSignals:
    """Signals to all ranks that run here."""

    def __init__(self, table: RankTable) -> None:
        self._table = table

    def send(self, number: int) -> None:
        """Signal them; a stopped one is woken, or it would not hear."""
        for pid in self._table.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)

    async def absence(self, patience: float) -> None:
        """Wait until no rank is here, at most *patience* seconds."""
        deadline = asyncio.get_running_loop().time() + patience
        while self._table.present and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            # An event would have to be kept in step with a table that is rarely waited for.
            await asyncio.sleep(0.02)

    async def terminate(self, grace: float) -> None:
        """SIGTERM, and SIGKILL to those that are left after *grace* seconds."""
        self.send(signal.SIGTERM)
        await self.absence(grace)
        self.send(signal.SIGKILL)
