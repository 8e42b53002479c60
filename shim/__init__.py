"""The on-node resource manager for containerised HPC jobs.

`shim` wraps `singularity exec` in job scripts: it is a PMIx client of whoever launched it and
a PMIx server for everything in the container (see docs/architecture.md).
"""

__version__ = "0.1.0"
