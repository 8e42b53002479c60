"""Beginning and end of being the launcher's client, for the modes that do it in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from pmix_server import blocking, environment
from pmix_server.errors import PmixError
from pmix_server.values import Info

log = logging.getLogger(__name__)

NEEDED = ("PMIX_NAMESPACE", "PMIX_RANK")
_CONNECT_LIMIT = 60.0  # seconds; libpmix itself retries for some of them
_LEAVE_LIMIT = 10.0  # seconds

Init = Callable[[Sequence[Info]], tuple[str, int]]


def require_launcher(env: Mapping[str, str]) -> None:
    """Refuse to connect where no launcher has left its variables."""
    missing = [name for name in NEEDED if not env.get(name)]
    if missing:
        raise PmixError(
            f"No PMIx launcher is here: {' and '.join(missing)} not in the environment.",
            "Start the job with `srun --mpi=pmix` or `prterun`.",
        )


async def connect(
    init: Init, infos: Sequence[Info], settings: Mapping[str, str]
) -> tuple[str, int]:
    """Run libpmix's init with *settings* as its only variables; who we are."""

    def run() -> tuple[str, int]:
        with environment.only(settings):
            return init(infos)

    return await blocking.call(
        "Connecting to the launcher's PMIx server",
        run,
        limit=_CONNECT_LIMIT,
        hint="A private network namespace cuts PMIx off: keep the host's network.",
    )


async def leave(finalize: Callable[[], None]) -> None:
    """Run libpmix's finalize. A launcher that is gone already is not an error."""
    try:
        await blocking.call("Leaving the launcher", finalize, limit=_LEAVE_LIMIT)
    except PmixError as error:
        log.warning("%s", error.message)
