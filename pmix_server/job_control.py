"""PMIx_Job_control: signals to ranks, wherever they are.

control.signal    [nspace, [rank] or None, signal]    answered by the number of processes
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from pmix_server import keys
from pmix_server._pmixcore import Request
from pmix_server.collectives import Collectives
from pmix_server.errors import PmixError
from pmix_server.mesh import Mesh
from pmix_server.mesh_messages import Body
from pmix_server.processes import Processes
from pmix_server.service import Handler
from pmix_server.status import Status
from pmix_server.values import RANK_WILDCARD, Info, Proc

SIGNAL = "control.signal"

ACTIONS = {
    keys.JOB_CTRL_KILL: signal.SIGKILL,
    keys.JOB_CTRL_TERMINATE: signal.SIGTERM,
    keys.JOB_CTRL_PAUSE: signal.SIGSTOP,
    keys.JOB_CTRL_RESUME: signal.SIGCONT,
}
"""Requests that are one signal."""


class JobControl:
    """Sends signals to the ranks of this node for those of all nodes."""

    def __init__(self, mesh: Mesh, collectives: Collectives, processes: Processes) -> None:
        self._mesh = mesh
        self._collectives = collectives
        self._processes = processes
        self.answers: Mapping[str, Handler] = {"job_control": self._control}
        mesh.subscribe(SIGNAL, self._on_signal)

    def process_ended(self, proc: Proc) -> None:
        """It is in the agent's table."""

    async def _control(self, request: Request, timeout: float | None) -> list[Info]:
        number = signal_of(request.infos)
        targets = [Proc(*proc) for proc in request.procs]
        if not targets:  # the standard: all of the requestor's namespace
            targets = [Proc(request.source[0], RANK_WILDCARD)]
        calls = [
            self._mesh.request(node, SIGNAL, [nspace, ranks, number], timeout)
            for nspace, node, ranks in self._split(targets)
        ]
        if not sum(await asyncio.gather(*calls)):
            raise PmixError("None of these processes runs.", status=Status.ERR_NOT_FOUND)
        return []

    def _split(self, targets: Sequence[Proc]) -> list[tuple[str, int, list[int] | None]]:
        """Which ranks of which namespace are to be reached on which node."""
        parts: dict[tuple[str, int], list[int] | None] = {}
        for target in targets:
            for node in self._collectives.nodes_of([target]):
                place = (target.nspace, node)
                if target.rank == RANK_WILDCARD:
                    parts[place] = None
                elif (ranks := parts.setdefault(place, [])) is not None:
                    ranks.append(target.rank)
        return [(nspace, node, ranks) for (nspace, node), ranks in parts.items()]

    def _on_signal(self, node: int, body: Body) -> int:
        nspace, ranks, number = body
        reached = 0
        for process in self._processes(nspace):
            if process.pid and (ranks is None or process.rank in ranks):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)
                    reached += 1
        return reached


def signal_of(infos: Sequence[tuple[str, int, Any]]) -> int:
    """The signal that a request comes down to.

    Raises:
        PmixError: PMIX_ERR_NOT_SUPPORTED for what is none (checkpoint, restart, …);
            PMIX_ERR_BAD_PARAM for no signal's number.
    """
    for key, _, value in infos:
        if key in ACTIONS and value is not False:
            return int(ACTIONS[key])
        if key == keys.JOB_CTRL_SIGNAL:
            if value not in {int(number) for number in signal.valid_signals()}:
                raise PmixError(f"There is no signal {value}.", status=Status.ERR_BAD_PARAM)
            return int(value)
    raise PmixError(
        "Only kill, terminate, pause, resume and signals are done here.",
        status=Status.ERR_NOT_SUPPORTED,
    )
