"""What this agent says to the user, and that all agents together say a thing once."""

from __future__ import annotations

from collections.abc import Callable

from pmix_server.mesh import Body, Mesh, MeshError

KIND = "voice"

_ANSWER_SECONDS = 1.0
"""An answer comes in milliseconds; without one we rather say a thing twice than never."""


class Voice:
    """Says lines; *say* writes them to the user's terminal."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._mesh: Mesh | None = None
        self._topics: set[str] = set()

    def attach(self, mesh: Mesh) -> None:
        """From now on the first node decides who says what."""
        self._mesh = mesh
        if mesh.index == 0:
            mesh.subscribe(KIND, lambda _node, topic: self._is_new(str(topic)))

    def say(self, text: str) -> None:
        """Say something that concerns this node alone."""
        self._say(text)

    async def say_once(self, text: str, topic: str = "") -> None:
        """Say *text*, unless a node of the job has said something on the same topic (by default:
        the same text)."""
        if await self.may_say(topic or text):
            self._say(text)

    async def may_say(self, topic: str) -> bool:
        """Whether nobody has spoken of *topic* yet; whoever gets True must."""
        if not self._is_new(topic):
            return False
        mesh = self._mesh
        if mesh is None or mesh.index == 0 or 0 in mesh.gone:
            return True
        try:
            return bool(await mesh.request(0, KIND, topic, _ANSWER_SECONDS))
        except MeshError:
            return True

    def silence(self, topic: str) -> None:
        """Another node has spoken, or nothing is to be said."""
        self._topics.add(topic)

    def _is_new(self, topic: Body) -> bool:
        new = topic not in self._topics
        self._topics.add(topic)
        return new
