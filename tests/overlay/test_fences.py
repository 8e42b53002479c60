"""Fences over real sockets: many nodes, many times."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.overlay.agents import EVERYBODY, collectives_of, meshes


def test_sixty_four_agents_fence() -> None:
    async def scenario() -> None:
        async with meshes(64) as made:
            all_nodes = [collectives_of(mesh, 64) for mesh in made]
            for number in range(3):
                fences = (
                    one.fence(EVERYBODY, b"%d.%d " % (number, node), True)
                    for node, one in enumerate(all_nodes)
                )
                results = await asyncio.gather(*fences)
                wanted = b"".join(b"%d.%d " % (number, node) for node in range(64))
                assert set(results) == {wanted}

    asyncio.run(scenario())


def test_ten_thousand_fences_leave_nothing_behind() -> None:
    async def scenario() -> None:
        async with meshes(2) as made:
            both = [collectives_of(mesh, 2) for mesh in made]
            fences = 0

            async def fence_until(total: int) -> None:
                nonlocal fences
                while fences < total:
                    fences += 1
                    calls = (one.fence(EVERYBODY, b"x" * 100, True) for one in both)
                    assert await asyncio.gather(*calls) == [b"x" * 200] * 2

            await fence_until(2000)
            descriptors, memory = len(os.listdir("/proc/self/fd")), resident_kib()
            await fence_until(10_000)
            assert len(os.listdir("/proc/self/fd")) == descriptors
            assert resident_kib() - memory < 1024

    asyncio.run(scenario())


def resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])
