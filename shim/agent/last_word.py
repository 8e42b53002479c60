"""`python -m shim.agent.last_word CODE`: the guard's, when the agent has died.

Connects to the launcher as the agent did, and asks it to end the job on all nodes.
"""

from __future__ import annotations

import asyncio
import os
import sys

from shim.agent.uplink import Uplink


async def end_job(code: int) -> None:
    uplink = Uplink("auto", os.environ)
    await uplink.connect()
    await uplink.abort(code, "the agent of a node died")
    await uplink.finalize()


if __name__ == "__main__":
    asyncio.run(end_job(int(sys.argv[1])))
