"""Measurements against what there is without shim: pairs, alternated in one run.

Each script is run as a module, for example ``python -m benchmarks.launch --quick``.
"""
