"""`shim run`: what each node has for the ranks, known to all agents."""

from __future__ import annotations

import asyncio
from dataclasses import astuple

from cpusets.dealing import Capacity
from pmix_server.mesh import Body, Mesh

KIND = "capacity"


async def gather_capacities(mesh: Mesh, mine: Capacity, timeout: float) -> list[Capacity]:
    """Every node's, by mesh index. Node 0 collects and answers all when it knows all.

    Raises:
        MeshError: a node was lost.
        TimeoutError: a node did not tell within *timeout* seconds.
    """
    if mesh.size == 1:
        return [mine]
    if mesh.index != 0:
        return [Capacity(*one) for one in await mesh.request(0, KIND, astuple(mine), timeout)]
    known = {0: mine}
    complete = asyncio.Event()

    async def on_capacity(node: int, body: Body) -> Body:
        known[node] = Capacity(*body)
        if len(known) == mesh.size:
            complete.set()
        await complete.wait()
        return [astuple(known[at]) for at in range(mesh.size)]

    mesh.subscribe(KIND, on_capacity)
    async with asyncio.timeout(timeout):
        await complete.wait()
    return [known[at] for at in range(mesh.size)]
