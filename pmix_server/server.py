"""The PMIx server of one node: what ranks connect to instead of the launcher's."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from pmix_server import _pmixcore, blocking, dispatch, environment, jobdata, keys, library
from pmix_server.channel import Channel
from pmix_server.directories import private_directory
from pmix_server.errors import PmixError
from pmix_server.host import Host
from pmix_server.job import JobSpec
from pmix_server.library import Library
from pmix_server.messages import Messages
from pmix_server.service import Handler, Service
from pmix_server.status import Status
from pmix_server.upstream import Upstream
from pmix_server.upstream.launcher import LauncherUpstream
from pmix_server.values import Info, Proc, rank, string

log = logging.getLogger(__name__)

NAMESPACE = "shim-server"

START_LIMIT = 60.0  # seconds for libpmix to read the topology and to listen
STOP_LIMIT = 5.0  # seconds for libpmix to close its connections


class Server:
    """libpmix as a server, driven by the running asyncio loop. One per process and life.

    libpmix keeps its state in globals and does not start twice in a process reliably, so a
    stopped server cannot be started again.
    """

    def __init__(self) -> None:
        self._host: Host | None = None
        self._services: tuple[Service, ...] = ()
        self._handlers: dict[str, Handler] = {}
        self._channel = Channel(_pmixcore.SERVER, self._on_request)
        self._tasks: set[asyncio.Task[None]] = set()
        self._jobs: dict[str, JobSpec] = {}
        self._registered: dict[str, asyncio.Event] = {}
        self._library: Library | None = None
        self._launcher = False
        self._messages: Messages | None = None
        self.node = ""

    @property
    def library(self) -> Library:
        """The copy of libpmix that serves."""
        if self._library is None:
            raise PmixError("The PMIx server is not started.", status=Status.ERR_INIT)
        return self._library

    @property
    def jobs(self) -> Mapping[str, JobSpec]:
        """The jobs that are registered, by namespace."""
        return self._jobs

    async def start(
        self,
        host: Host,
        *,
        tmpdir: Path | str,
        library_path: Path | None = None,
        node: str | None = None,
        upstream: Upstream | None = None,
        services: Sequence[Service] = (),
    ) -> None:
        """Load libpmix and listen on the loopback interface.

        Args:
            host: answers the ranks.
            tmpdir: for libpmix's files; made with mode 0700 if missing.
            library_path: libpmix's file; by default it is looked for.
            node: this node's name in every JobSpec; libpmix tells local ranks from remote ones
                by it. Default: the host name.
            upstream: our client of the launcher; matters in launcher mode, where it has started
                the one libpmix there is, under its own name of the node.
            services: answer what the host does not.

        Raises:
            PmixError: no usable libpmix, or it does not start.
        """
        self._host = host
        self._services = tuple(services)
        self._handlers = dispatch.handlers(host, services)
        self.node = node or socket.gethostname().split(".")[0]
        directory = private_directory(Path(tmpdir))
        self._library = library.load_server(library_path or library.find(os.environ))
        self._channel.open()
        if isinstance(upstream, LauncherUpstream):
            self._launcher = True
            self.node = upstream.node
        else:
            self._messages = Messages()
            await blocking.call(
                "Starting the PMIx server",
                self._init,
                directory,
                self._messages.open(),
                limit=START_LIMIT,
                hint=f"Is {directory} writable?",
            )

    def _init(self, directory: Path, output: Mapping[str, str]) -> None:
        settings = {**environment.SERVER_SETTINGS, **output, "PMIX_HOSTNAME": self.node}
        infos = [
            string(keys.SERVER_TMPDIR, str(directory)),
            string(keys.SYSTEM_TMPDIR, str(directory)),
            string(keys.SERVER_NSPACE, f"{NAMESPACE}-{os.getpid()}"),
            rank(keys.SERVER_RANK, 0),
            string(keys.HOSTNAME, self.node),
        ]
        with environment.only(settings):
            _pmixcore.server_init(infos)

    async def register(self, job: JobSpec) -> None:
        """Take a job: afterwards its local ranks may connect.

        Raises:
            PmixError: libpmix refuses the data.
        """
        if job.here.name != self.node:
            raise PmixError(
                f"The job calls this node {job.here.name}, the PMIx server calls it {self.node}.",
                "Give both the same name.",
                status=Status.ERR_BAD_PARAM,
            )
        for directory in (job.tmpdir, jobdata.namespace_directory(job)):
            if directory is not None:
                private_directory(Path(directory))
        infos = jobdata.job_info(job, self._locality(job))
        await self._channel.call(
            "Registering the job", _pmixcore.register_nspace, job.nspace, len(job.here.ranks), infos
        )
        for number in job.here.ranks:
            proc = Proc(job.nspace, number)
            await self._channel.call(
                f"Registering rank {number}", _pmixcore.register_client, proc, job.uid, job.gid
            )
        self._jobs[job.nspace] = job
        self._registration(job.nspace).set()

    async def deregister(self, nspace: str) -> None:
        """Forget a job whose ranks have ended.

        Raises:
            PmixError: PMIX_ERR_TIMEOUT where libpmix is stuck, as it is after it has refused a
                client of the job (a double release of the rank's record, 4.2.2 and 5.0.11).
        """
        job = self._jobs.pop(nspace, None)
        self._registered.pop(nspace, None)
        if job is not None:
            what = f"Deregistering {nspace}"
            try:
                async with asyncio.timeout(STOP_LIMIT):
                    await self._channel.call(what, _pmixcore.deregister_nspace, nspace)
            except TimeoutError:
                raise PmixError(
                    f"{what} did not end within {STOP_LIMIT:g} s.", status=Status.ERR_TIMEOUT
                ) from None

    def rank_environment(
        self, number: int, *, nspace: str | None = None, base: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The variables that a local rank needs in order to reach this server.

        Args:
            number: the rank.
            nspace: its job; may be left out while there is only one.
            base: the environment that the rank has otherwise (default: this process's), which
                decides whether Open MPI 4.1 needs to be told that it is launched directly. Apply
                `environment.without_launcher` to it before adding the result.
        """
        job = self._job(nspace)
        try:
            entries = _pmixcore.setup_fork(Proc(job.nspace, number))
        except _pmixcore.PMIxError as error:
            raise PmixError.of_call(f"Preparing rank {number}", error.args[0]) from None
        given = os.environ if base is None else base
        return {
            **environment.parse_entries(entries),
            "PMIX_GDS_MODULE": "hash",
            **environment.direct_launch(given, job.job_id),
        }

    async def local_modex(self, proc: tuple[str, int]) -> bytes:
        """What a local rank has committed for others; waits until it has.

        An agent that was quicker than we are may ask before the job is registered here.

        Raises:
            PmixError: the rank is not ours, or has ended without committing.
        """
        await self._registration(proc[0]).wait()
        blob = await self._channel.call(
            f"Reading the data of rank {proc[1]}", _pmixcore.dmodex_request, Proc(*proc)
        )
        return bytes(blob or b"")

    async def notify_event(
        self, code: int, source: Proc, reach: int, infos: Sequence[Info]
    ) -> None:
        """Bring an event of a rank of another node to the ranks of this one.

        Raises:
            PmixError: libpmix refuses it. PMIX_ERR_NOT_SUPPORTED in launcher mode, where libpmix
                would send the event up, and Slurm would end the step.
        """
        if self._launcher:
            raise PmixError(
                "Events do not cross nodes while one libpmix serves both sides.",
                "Use the mode isolated.",
                status=Status.ERR_NOT_SUPPORTED,
            )
        what = f"Notifying of event {code}"
        await self._channel.call(what, _pmixcore.notify_event, code, source, reach, infos)

    async def stop(self) -> None:
        """Answer what is open with an error, then shut libpmix's server down."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._host = None
        self._channel.deliver()  # what came in meanwhile is refused
        self._channel.close()
        if self._library is not None and not self._launcher:
            await self._finalize()
        if self._messages is not None:
            self._messages.close()
            self._messages = None
        self._library = None

    async def _finalize(self) -> None:
        """A libpmix that does not end is left behind: the ranks are gone, the process follows."""
        try:
            await blocking.call(
                "Stopping the PMIx server", _pmixcore.server_finalize, limit=STOP_LIMIT
            )
        except PmixError as error:
            log.warning("%s", error.message)

    def _registration(self, nspace: str) -> asyncio.Event:
        return self._registered.setdefault(nspace, asyncio.Event())

    def _job(self, nspace: str | None) -> JobSpec:
        if nspace is None and len(self._jobs) == 1:
            return next(iter(self._jobs.values()))
        if nspace not in self._jobs:
            raise PmixError(f"No job {nspace or ''} is registered.", status=Status.ERR_NOT_FOUND)
        return self._jobs[nspace]

    def _locality(self, job: JobSpec) -> dict[int, str]:
        """Where each bound local rank sits, in libpmix's words; {} if it knows no topology."""
        found: dict[int, str] = {}
        for number in job.here.ranks:
            text = jobdata.cpuset_text(job, number)
            try:
                place = _pmixcore.locality_string(text) if text else None
            except _pmixcore.PMIxError as error:
                log.warning("no locality for rank %d: status %s", number, error.args[0])
                continue
            if place:
                found[number] = place
        return found

    def _on_request(self, request: _pmixcore.Request) -> None:
        host = self._host
        if request.kind in dispatch.NOTICES and host is not None:
            self._on_notice(host, request)
        elif host is None:
            request.answer(Status.ERR_NOT_AVAILABLE)
        elif request.kind in self._handlers:
            work = dispatch.answer(self._handlers[request.kind], request)
            task = asyncio.get_running_loop().create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            request.answer(Status.ERR_NOT_SUPPORTED)

    def _on_notice(self, host: Host, request: _pmixcore.Request) -> None:
        proc = Proc(*request.source)
        dispatch.NOTICES[request.kind](host, proc)
        if request.kind == "client_finalized":
            for service in self._services:
                service.process_ended(proc)
