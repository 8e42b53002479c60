"""A rank that is a PMIx client in Python: it shares a value and reads its neighbour's.

srun --mpi=pmix -N2 -n4 shim exec app.sif python3 client.py     # needs pmix in the image
shim run -n 2 --native python3 client.py                        # uses the host's
"""

from __future__ import annotations

import sys

from pmix_server import PmixError
from pmix_server.bindings import import_pmix

try:
    pmix = import_pmix()
except PmixError as error:
    sys.exit(f"client: {error.message} {error.hint}")

client = pmix.PMIxClient()
status, me = client.init([])
if status != pmix.PMIX_SUCCESS:
    sys.exit(f"client: no PMIx server answers ({client.error_string(status).decode()})")

everyone = {"nspace": me["nspace"], "rank": pmix.PMIX_RANK_WILDCARD}
_, size = client.get(everyone, "pmix.job.size", [])
greeting = {"value": f"hello from rank {me['rank']}", "val_type": pmix.PMIX_STRING}
client.put(pmix.PMIX_GLOBAL, "greeting", greeting)
client.commit()
client.fence([everyone], [{"key": "pmix.collect", "value": True, "val_type": pmix.PMIX_BOOL}])

neighbour = {"nspace": me["nspace"], "rank": (me["rank"] + 1) % size["value"]}
status, got = client.get(neighbour, "greeting", [])
print(f"rank {me['rank']} of {size['value']} read: {got['value']}")
client.finalize([])
