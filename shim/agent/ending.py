"""How a job ends before its time: at most once, with one sentence, on all nodes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from pmix_server.mesh import AGENT_DIED, AGENT_LEFT
from shim.agent.life import RankTable
from shim.agent.lifecycle import Abort, Lifecycle, Notice, PartEnded, RankExited
from shim.agent.links import Links
from shim.agent.outcome import how, job_code, patience
from shim.agent.voice import Voice
from shim.errors import ShimError

log = logging.getLogger(__name__)

TOPIC = "the job's end"

GUARDS_TURN = 2.0
"""Seconds for the guard of an agent that died: it says so and asks the launcher to end the job.
Where the whole node died there is no guard, and the other agents speak."""

OTHERS_TURN = 1.0
"""Seconds for the first of the nodes that are left to end the job, before the others do."""

SEE_OUTPUT = "Look for the reason in the rank's own output."

UNKNOWN = -1
"""A rank's wait status, in messages, where the kernel does not tell it."""


class EndRanks(Protocol):
    """Ends the ranks here, and through the launcher those of other nodes if *everywhere*."""

    async def __call__(self, code: int, text: str, *, everywhere: bool) -> None: ...


class Ending:
    """Decides that the job is to end, and sees to it.

    Args:
        table: the ranks of this node.
        end_ranks: what differs between `shim exec` and `shim run`.
        spawn: runs a coroutine in the background of the session.
        on_verdict: called when nothing of this is to be waited for any more.
    """

    def __init__(
        self,
        table: RankTable,
        voice: Voice,
        end_ranks: EndRanks,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        on_verdict: Callable[[], None],
    ) -> None:
        self.code = 0
        self.begun = False
        self.cancelled = False
        """The launcher has told us that it ends the job."""
        self._table = table
        self._voice = voice
        self._end_ranks = end_ranks
        self._spawn = spawn
        self._links: Links | None = None
        self._lifecycle: Lifecycle | None = None
        self._ended_nodes: set[int] = set()
        self._on_verdict = on_verdict
        self._suspects = self._failures = 0
        self._working = self._part_ended = False
        self._reported: list[tuple[int, int | None, bool]] = []

    @property
    def pending(self) -> bool:
        """Whether we must not leave yet: a death is to be judged, or others are still to hear
        that the job is ended."""
        if self.begun:
            return self._working
        # A death that nobody waits for any more needs no judgement, except where it alone counts.
        return self._failures > 0 or (self._suspects > 0 and self._is_awaited())

    def attach(self, links: Links) -> None:
        """The other agents are there."""
        self._links = links
        self._lifecycle = Lifecycle(links.mesh, self._on_notice)
        links.mesh.on_lost(self._on_node_lost)

    # Causes.

    def rank_died(self, rank: int, status: int | None, *, owed: bool) -> None:
        """A rank ended as it should not have: *owed* means between PMIx_Init and PMIx_Finalize,
        else its exit code alone is to end the job.

        What that means for the job is for the first node to say: it knows whether ranks of other
        nodes wait, and which of several deaths came first.
        """
        links = self._links
        if self.begun or links is None:
            return
        if links.mesh.index == 0 or 0 in links.mesh.gone:
            self._suspect(rank, status, owed)
        elif self._lifecycle:
            self._reported.append((rank, status, owed))
            number = UNKNOWN if status is None else status
            self._lifecycle.tell_all(RankExited(links.nspace, rank, number, owed))

    async def verdicts(self) -> None:
        """Wait until `pending` is False."""
        while self.pending:  # noqa: ASYNC110 - a matter of a third of a second at the end of a job
            await asyncio.sleep(0.02)

    def end(self, code: int, text: str, message: str = "", *, everywhere: bool = True) -> None:
        """End the job's ranks, once. *text* is for the user, *message* for the launcher."""
        if self.begun:
            return
        self.begun = self._working = True
        self.code = code & 0xFF or 1
        log.info("the job is ended with code %d: %s", self.code, text or message)
        self._spawn(self._end(text, message or text, everywhere))

    async def _end(self, text: str, message: str, everywhere: bool) -> None:
        if text:
            await self._voice.say_once(f"shim: {text}", TOPIC)
        else:
            self._voice.silence(TOPIC)
        await self._end_all(message, everywhere)
        self._working = False
        self._on_verdict()

    async def _end_all(self, message: str, everywhere: bool) -> None:
        if everywhere and self._lifecycle and self._links:
            self._lifecycle.tell_all(Abort(self._links.nspace, 0, self.code, message))
        await self._end_ranks(self.code, message, everywhere=everywhere)

    async def give_up(
        self, error: ShimError, refused: Awaitable[None], say: Callable[[str], None]
    ) -> None:
        """This node cannot begin: say why, unless a rank or another node does, and end what has
        begun elsewhere. *refused* is done when the ranks that waited have heard it."""
        self.begun = self._working = True
        self.code = error.exit_code
        await refused
        if await self._voice.may_say(TOPIC):
            say(str(error))
        if self._links is None or self._links.mesh.size > 1:
            await self._end_all(error.message, True)
        self._working = False

    def part_ended(self) -> None:
        """No rank here owes PMIx anything more: from now on our loss harms nobody."""
        if self._lifecycle and self._links and not self._part_ended:
            self._part_ended = True
            self._lifecycle.tell_all(PartEnded(self._links.nspace, self.code))

    # What the other nodes tell.

    def _on_notice(self, node: int, notice: Notice) -> None:
        if isinstance(notice, PartEnded):
            self._ended_nodes.add(node)
            self._on_verdict()
        elif isinstance(notice, Abort):
            self._voice.silence(TOPIC)
            self.end(notice.status, "", notice.message, everywhere=False)
        elif isinstance(notice, RankExited) and self._links and self._links.mesh.index == 0:
            known = notice.status != UNKNOWN
            self._suspect(notice.rank, notice.status if known else None, notice.owed)

    def _suspect(self, rank: int, status: int | None, owed: bool) -> None:
        self._suspects += owed
        self._failures += not owed
        delay = patience(status, cancelled=self.cancelled)
        asyncio.get_running_loop().call_later(delay, self._judge, rank, status, owed)

    def _judge(self, rank: int, status: int | None, owed: bool) -> None:
        self._suspects -= owed
        self._failures -= not owed
        if not owed:
            self.end(
                job_code(status), f"Rank {rank} {how(status)}, so the job is ended. {SEE_OUTPUT}"
            )
        elif self._is_awaited():
            self.end(
                job_code(status),
                f"Rank {rank} {how(status)} between PMIx_Init and PMIx_Finalize, and other ranks "
                f"wait for it, so the job is ended. {SEE_OUTPUT}",
            )
        else:
            self._on_verdict()

    def _is_awaited(self) -> bool:
        """Whether any rank of the job is left that may want to hear of others."""
        if not self._table.settled:
            return True
        mesh = self._links.mesh if self._links else None
        others = set(range(mesh.size)) - {mesh.index} - mesh.gone if mesh else set()
        return bool(others - self._ended_nodes)

    def _on_node_lost(self, node: int, reason: str) -> None:
        log.info("node %d is lost: %s", node, reason)
        if node == 0:
            for report in self._reported:
                self._suspect(*report)
            self._reported.clear()
        if node in self._ended_nodes or self._table.settled or self.begun:
            return
        if reason == AGENT_LEFT:
            self._ended_nodes.add(node)
            return
        delay = GUARDS_TURN if reason == AGENT_DIED else 0.0
        asyncio.get_running_loop().call_later(delay, self._mourn, node, reason)

    def _mourn(self, node: int, reason: str) -> None:
        if self._table.settled or self._links is None:
            return
        mesh = self._links.mesh
        text = (
            f"The agent of node {mesh.names[node]} was lost ({reason}), so the job is ended. "
            "Look for the node's state with `sinfo -R`."
        )
        if mesh.index == min(set(range(mesh.size)) - mesh.gone):
            self.end(1, text)
        else:
            asyncio.get_running_loop().call_later(OTHERS_TURN, self.end, 1, text)
