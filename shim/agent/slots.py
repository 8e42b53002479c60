"""`shim run`: how many ranks each node can take, known to all agents."""

from __future__ import annotations

import asyncio

from pmix_server.mesh import Body, Mesh

KIND = "slots"


async def gather_slots(mesh: Mesh, mine: int, timeout: float) -> list[int]:
    """Every node's slots, by mesh index. Node 0 collects and answers all when it knows all.

    Raises:
        MeshError: a node was lost.
        TimeoutError: a node did not tell within *timeout* seconds.
    """
    if mesh.size == 1:
        return [mine]
    if mesh.index != 0:
        return [int(slots) for slots in await mesh.request(0, KIND, mine, timeout)]
    known = {0: mine}
    complete = asyncio.Event()

    async def on_slots(node: int, body: Body) -> Body:
        known[node] = int(body)
        if len(known) == mesh.size:
            complete.set()
        await complete.wait()
        return [known[at] for at in range(mesh.size)]

    mesh.subscribe(KIND, on_slots)
    async with asyncio.timeout(timeout):
        await complete.wait()
    return [known[at] for at in range(mesh.size)]
