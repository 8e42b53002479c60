"""The client side: towards slurmstepd, prted, or nobody, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pmix_server.upstream.base import Upstream, UpstreamJob
from pmix_server.upstream.isolated import NEEDED, IsolatedUpstream
from pmix_server.upstream.none import NoUpstream

Mode = Literal["auto", "isolated", "launcher", "agent", "none"]


def open_upstream(mode: Mode, env: Mapping[str, str]) -> Upstream:
    """The upstream for a process that was started with *env*; not connected yet.

    Args:
        mode: `auto` takes `isolated` where a launcher has left its variables, else `none`.

    Raises:
        PmixError: libpmix cannot do what the mode asks.
    """
    if mode == "auto":
        mode = "isolated" if all(env.get(name) for name in NEEDED) else "none"
    if mode == "none":
        return NoUpstream()
    return IsolatedUpstream(env)


__all__ = ["Mode", "Upstream", "UpstreamJob", "open_upstream"]
