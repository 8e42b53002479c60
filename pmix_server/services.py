"""The services of a job, put together for the server of one node."""

from __future__ import annotations

from pmix_server.collectives import Collectives
from pmix_server.connections import Connections
from pmix_server.events import Events
from pmix_server.mesh import Mesh
from pmix_server.name_service import NameService
from pmix_server.server import Server
from pmix_server.service import Service


def job_services(mesh: Mesh, collectives: Collectives, server: Server) -> tuple[Service, ...]:
    """All services that this node offers to its ranks."""
    return (
        NameService(mesh),
        Connections(collectives),
        Events(mesh, collectives, server.notify_event),
    )
