"""Starting the one container per node, the best way that works here."""

from __future__ import annotations

import os

from shim.container.image import check_image
from shim.container.keeper import Keeper
from shim.container.order import CannotJoin, Container, StartOrder
from shim.container.runtime import check_user_namespaces, find_runtime


async def start_container(order: StartOrder) -> Container:
    """Check what can be checked, then start it: one that ranks join, else an instance.

    Raises:
        ShimError: no runtime, a bad image, or the runtime's own refusal.
    """
    runtime = find_runtime(order.options.runtime, order.env)
    check_image(order.options.image)
    check_user_namespaces(runtime)
    obstacle = runtime.why_no_join(order.options, os.geteuid())
    if obstacle is None:
        try:
            return await Keeper.start(runtime, order)
        except CannotJoin as reason:
            obstacle = str(reason)
    # Imported only here: spython costs 0.1 s, which every other start would pay.
    from shim.container.instance import Instance

    return await Instance.start(runtime, order, obstacle)
