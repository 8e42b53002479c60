"""What an agent must know to reach another, and how the head's is handed over.

The blob of the head goes through PMIx only (put and commit by node 0, get by the others): it holds
the job's client secret, and whoever has it may join the mesh.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import msgpack

from shim.errors import ShimError
from shim.overlay.wire import PROTOCOL


@dataclass(frozen=True)
class Endpoint:
    """Where one agent listens: addresses, best first, and the CURVE key (Z85) it proves."""

    addresses: tuple[str, ...]
    server_key: bytes


@dataclass(frozen=True)
class HeadEndpoint:
    """The way into the mesh of one job.

    Attributes:
        client_public, client_secret: the CURVE pair (Z85) of every client of this job.
        nspace: the inner PMIx namespace, which all agents register.
        job: the launcher's name of the step, for messages.
        head_name: node name of the head, for messages.
    """

    addresses: tuple[str, ...]
    server_key: bytes
    client_public: bytes
    client_secret: bytes
    nspace: str
    job: str
    head_name: str

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.addresses, self.server_key)

    def pack(self) -> bytes:
        packed: bytes = msgpack.packb((PROTOCOL, *astuple(self)))
        return packed

    @classmethod
    def unpack(cls, blob: bytes) -> HeadEndpoint:
        """The endpoint in *blob*.

        Raises:
            ShimError: the blob is damaged or of another version of the protocol.
        """
        try:
            version, *fields = msgpack.unpackb(blob)
        except (msgpack.UnpackException, ValueError, TypeError) as error:
            raise ShimError(
                "What the head agent published through PMIx is not an endpoint.",
                "Check that every node runs the same version of shim.",
            ) from error
        if version != PROTOCOL or len(fields) != len(cls.__dataclass_fields__):
            raise ShimError(
                f"The head agent speaks version {version} of the overlay protocol, "
                f"this node speaks {PROTOCOL}.",
                "Install the same version of shim on every node.",
            )
        addresses, *rest = fields
        return cls(tuple(addresses), *rest)
