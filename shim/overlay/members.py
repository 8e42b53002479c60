"""Who belongs to the mesh: the table that the head keeps and every agent has a copy of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pmix_server.mesh_messages import Body
from shim.overlay.endpoint import Endpoint

NAMES_SHOWN = 8
"""Node names in one sentence; the rest is a number."""


@dataclass(frozen=True)
class Member:
    """One agent as it introduced itself."""

    index: int
    name: str
    endpoint: Endpoint
    pid: int
    uid: int

    def to_body(self) -> Body:
        endpoint = self.endpoint
        return [
            self.index,
            self.name,
            list(endpoint.addresses),
            endpoint.server_key,
            self.pid,
            self.uid,
        ]

    @classmethod
    def from_body(cls, body: Body) -> Member:
        index, name, addresses, server_key, pid, uid = body
        return cls(index, name, Endpoint(tuple(addresses), server_key), pid, uid)


@dataclass
class Members:
    """Names by index, the agents that have joined, and the nodes that are gone.

    `generation` counts the changes that were announced: 1 when all nodes of the start are there,
    one more for every later join.
    """

    names: list[str]
    joined: dict[int, Member] = field(default_factory=dict)
    gone: dict[int, str] = field(default_factory=dict)
    generation: int = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the expected nodes, the head aside, that have not joined."""
        named = enumerate(self.names)
        return tuple(name for index, name in named if index and index not in self.joined)

    def add(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """Take in *members*; give those that were not known."""
        new = tuple(member for member in members if member.index not in self.joined)
        for member in new:
            while len(self.names) <= member.index:
                self.names.append("?")
            self.names[member.index] = member.name
            self.joined[member.index] = member
        return new

    def refusal(self, index: int | None) -> str | None:
        """Why an agent that introduces itself as *index* is not let in; None if it is."""
        if index in self.joined:
            return f"another agent has joined as node {index} already"
        if index is not None and not 0 <= index < len(self.names):
            return f"this job has no node {index}"
        return None


def list_names(names: Sequence[str]) -> str:
    """ "n1, n2" or "n1, n2, … and 7 more"."""
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
