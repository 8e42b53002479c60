"""The PMIx boundary: a server for the ranks of a node, a client of whoever launched us."""

from pmix_server.errors import PmixError
from pmix_server.host import Host
from pmix_server.job import JobSpec, NodeRanks
from pmix_server.server import Server
from pmix_server.status import Status
from pmix_server.upstream import Upstream, UpstreamJob, open_upstream
from pmix_server.values import RANK_UNDEF, RANK_WILDCARD, Info, Proc, Value

__all__ = [
    "RANK_UNDEF",
    "RANK_WILDCARD",
    "Host",
    "Info",
    "JobSpec",
    "NodeRanks",
    "PmixError",
    "Proc",
    "Server",
    "Status",
    "Upstream",
    "UpstreamJob",
    "Value",
    "open_upstream",
]
