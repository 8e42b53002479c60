"""The client side: towards slurmstepd, prted, or nobody, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from pmix_server.errors import PmixError
from pmix_server.upstream.base import Upstream, UpstreamJob
from pmix_server.upstream.isolated import IsolatedUpstream
from pmix_server.upstream.launcher import LauncherUpstream
from pmix_server.upstream.none import NoUpstream
from pmix_server.upstream.session import NEEDED

Mode = Literal["auto", "isolated", "launcher", "agent", "none"]


def open_upstream(mode: Mode, env: Mapping[str, str]) -> Upstream:
    """The upstream for a process that was started with *env*; not connected yet.

    Args:
        mode: `auto` takes `isolated` where a launcher has left its variables, else `none`.

    Raises:
        PmixError: there is no such mode.
    """
    if mode == "auto":
        mode = "isolated" if all(env.get(name) for name in NEEDED) else "none"
    match mode:
        case "none":
            return NoUpstream()
        case "launcher":
            return LauncherUpstream(env)
        case "agent":
            # Loaded only here: its wire is the one thing that needs msgpack on a single node.
            from pmix_server.upstream.agent_process import AgentProcessUpstream

            return AgentProcessUpstream(env)
        case "isolated":
            return IsolatedUpstream(env)
    raise PmixError(
        f"There is no PMIx mode {mode!r}.", f"Choose one of {', '.join(get_args(Mode))}."
    )


__all__ = ["Mode", "Upstream", "UpstreamJob", "open_upstream"]
