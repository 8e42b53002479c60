"""A peer that leaves, dies, stops or is cut off."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from pmix_server.errors import PmixError
from pmix_server.mesh_messages import NodeGone
from pmix_server.status import Status
from shim.overlay import Head, Overlay
from tests.overlay.agents import (
    EVERYBODY,
    LOOPBACK,
    collectives_of,
    meshes,
    open_test_head,
    read_line,
    start_agent,
)


async def head_with_processes(count: int) -> tuple[Head, list[asyncio.subprocess.Process]]:
    """The head here, every other agent in a process of its own."""
    head = open_test_head(count)
    blob = await head.listen(LOOPBACK)
    agents = [await start_agent(blob, index, head.names) for index in range(1, count)]
    await head.wait_complete(30)
    assert [await read_line(agent) for agent in agents] == ["joined"] * (count - 1)
    return head, agents


async def end(head: Head, agents: list[asyncio.subprocess.Process]) -> None:
    for agent in agents:
        if agent.returncode is None and agent.stdin:
            agent.stdin.close()
    for agent in agents:
        async with asyncio.timeout(10):
            await agent.wait()
    await head.close()


class TestLeaving:
    def test_a_node_that_leaves_is_gone_without_alarm(self) -> None:
        async def scenario() -> None:
            async with meshes(3) as made:
                heard: list[tuple[int, int, str]] = []

                def listen(mesh: Overlay) -> None:
                    mesh.on_lost(lambda node, why: heard.append((mesh.index, node, why)))

                for mesh in made[:2]:
                    listen(mesh)
                made[1].post((2,), "hello", None)
                await asyncio.sleep(0.1)
                await made[2].close()
                await asyncio.sleep(0.2)
                reason = "its agent has left the job"
                assert sorted(heard) == [(0, 2, reason), (1, 2, reason)]
                assert made[0].gone == made[1].gone == {2}

        asyncio.run(scenario())

    def test_sending_to_it_says_so(self) -> None:
        async def scenario() -> None:
            async with meshes(2) as made:
                await made[1].close()
                await asyncio.sleep(0.1)
                with pytest.raises(NodeGone, match="n1 is gone: its agent has left"):
                    await made[0].send(1, "hello", None)
                with pytest.raises(NodeGone):
                    await made[0].request(1, "hello", None, 1)
                made[0].post((1,), "hello", None)

        asyncio.run(scenario())

    def test_all_leave_at_once_without_waiting_for_each_other(self) -> None:
        async def scenario() -> float:
            async with meshes(8) as made:
                all_fence = (collectives_of(m, 8).fence(EVERYBODY, b"", True) for m in made)
                await asyncio.gather(*all_fence)
                started = time.monotonic()
                await asyncio.gather(*(mesh.close() for mesh in made))
                return time.monotonic() - started

        assert asyncio.run(scenario()) < 0.8


class TestDeath:
    def test_a_killed_agent_is_reported_to_all_within_a_second(self) -> None:
        async def scenario() -> None:
            head, agents = await head_with_processes(4)
            heard: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
            head.on_lost(lambda node, reason: heard.put_nowait((node, reason)))
            started = time.monotonic()
            agents[1].kill()
            async with asyncio.timeout(5):
                assert await heard.get() == (2, "its agent ended without leaving")
            others = [await read_line(agents[0]), await read_line(agents[2])]
            assert time.monotonic() - started < 1
            assert others == ["lost 2 its agent ended without leaving"] * 2
            await end(head, agents)

        asyncio.run(scenario())

    def test_a_fence_that_loses_a_node_ends_with_an_error_on_all_others(self) -> None:
        async def scenario() -> None:
            head, agents = await head_with_processes(4)
            collectives = collectives_of(head, 4)
            for agent in (agents[0], agents[2]):
                assert agent.stdin
                agent.stdin.write(b"fence\n")
            own = asyncio.create_task(collectives.fence(EVERYBODY, b"0;", True))
            await asyncio.sleep(0.1)
            assert not own.done()
            agents[1].kill()
            with pytest.raises(PmixError, match="lost node n2") as caught:
                async with asyncio.timeout(2):
                    await own
            assert caught.value.status == Status.ERR_LOST_CONNECTION
            for agent in (agents[0], agents[2]):
                lines = {await read_line(agent), await read_line(agent)}
                assert lines == {"lost 2 its agent ended without leaving", "fence -61"}
            await end(head, agents)

        asyncio.run(scenario())

    def test_a_request_to_it_ends_at_once(self) -> None:
        async def scenario() -> None:
            head, agents = await head_with_processes(2)
            asked = asyncio.create_task(head.request(1, "nobody-answers", None, None))
            await asyncio.sleep(0.1)
            agents[0].kill()
            with pytest.raises(NodeGone, match="its agent ended without leaving"):
                async with asyncio.timeout(2):
                    await asked
            await end(head, agents)

        asyncio.run(scenario())

    def test_the_death_of_the_head_reaches_everybody(self) -> None:
        async def scenario() -> None:
            head, agents = await head_with_processes(3)
            head.links.close()  # as the kernel does for a killed process
            for agent in agents:
                assert await read_line(agent) == "lost 0 its agent ended without leaving"
            await end(head, agents)

        asyncio.run(scenario())


class TestSuspend:
    def test_a_stopped_agent_is_not_lost_and_goes_on(self) -> None:
        """`scontrol suspend` stops agents for as long as it likes."""

        async def scenario() -> None:
            head, agents = await head_with_processes(2)
            collectives = collectives_of(head, 2)
            agents[0].send_signal(signal.SIGSTOP)
            own = asyncio.create_task(collectives.fence(EVERYBODY, b"0;", True))
            assert agents[0].stdin
            agents[0].stdin.write(b"fence\n")
            await asyncio.sleep(7)
            assert not own.done()
            assert not head.gone
            agents[0].send_signal(signal.SIGCONT)
            async with asyncio.timeout(5):
                assert await own == b"0;1;"
            assert await read_line(agents[0]) == "fence 0;1;"
            await end(head, agents)

        asyncio.run(scenario())
