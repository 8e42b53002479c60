"""What the agent adds to a rank beyond what the runtime gives: CPUs, memory policy, PMIx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shim.ticket import MemoryPolicy


@dataclass(frozen=True)
class Additions:
    """For one rank."""

    env: Mapping[str, str] = field(default_factory=dict)
    """Set in the container whatever the options say: PMIx, OpenMP."""
    drop: tuple[str, ...] = ()
    """Name prefixes of the rank's host variables that must not reach it (the host's PMIx)."""
    cpus: bytes | None = None
    """Affinity mask, little-endian; None: as launched."""
    memory_policy: MemoryPolicy | None = None
    notes: tuple[str, ...] = ()
    """Lines for the user."""
