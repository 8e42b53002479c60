"""Finding OpenPMIx's own Python bindings, for programs that want to be PMIx clients.

Our server does not use them (docs/architecture.md, "PMIx"); as clients they are sound. They come
from the distribution, since they must fit its libpmix. Debian 13 installs them as an unpacked egg
beside the other modules, where Python does not look by itself (package python3-pmix 5.0.7-1).
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

from pmix_server.errors import PmixError

_DEBIAN = Path("/usr/lib/python3/dist-packages")


def import_pmix() -> ModuleType:
    """The module `pmix`.

    Raises:
        PmixError: it is not installed for this Python.
    """
    for egg in [None, *_eggs()]:
        if egg is not None:
            sys.path.append(str(egg))
        try:
            return importlib.import_module("pmix")
        except ImportError as error:
            cause = error
    raise PmixError(
        f"OpenPMIx's Python module `pmix` is not installed for {sys.executable}.",
        "Install it from your distribution (Debian: apt-get install python3-pmix) and use the "
        "distribution's Python.",
    ) from cause


def _eggs() -> list[Path]:
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    places = {Path(sysconfig.get_path("purelib")), _DEBIAN}
    return sorted(egg for place in places for egg in place.glob(f"pypmix-*-{version}-*.egg"))
