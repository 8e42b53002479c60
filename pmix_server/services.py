"""The services of a job, put together for the server of one node."""

from __future__ import annotations

from pmix_server.collectives import Collectives
from pmix_server.connections import Connections
from pmix_server.events import Events
from pmix_server.groups import Groups
from pmix_server.job_control import JobControl
from pmix_server.mesh import Mesh
from pmix_server.name_service import NameService
from pmix_server.processes import Processes
from pmix_server.queries import Queries
from pmix_server.server import Server
from pmix_server.service import Service


def job_services(
    mesh: Mesh, collectives: Collectives, server: Server, processes: Processes
) -> tuple[Service, ...]:
    """All services that this node offers to its ranks.

    A kind of request that none of them answers (allocate) is refused with
    PMIX_ERR_NOT_SUPPORTED; so is, by libpmix itself, what c_ext/pmixcore/services.c leaves out.
    """
    groups = Groups(mesh, collectives)
    return (
        NameService(mesh),
        Connections(collectives),
        Events(mesh, collectives, server.notify_event),
        groups,
        JobControl(mesh, collectives, processes),
        Queries(mesh, lambda: server.jobs, processes, groups),
    )
