"""A C program whose OpenMP threads print their number and the CPUs they may run on."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <omp.h>
#include <sched.h>
#include <stdio.h>
int main(void)
{
    #pragma omp parallel
    #pragma omp critical
    {
        cpu_set_t set;
        sched_getaffinity(0, sizeof set, &set);
        printf("%d", omp_get_thread_num());
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET(cpu, &set))
                printf(" %d", cpu);
        printf("\n");
    }
    return 0;
}
"""


def compiled(directory: Path, *, static: bool = False) -> Path:
    """The program, built with gcc; a line per thread: its number, then its CPUs."""
    source = directory / "places.c"
    source.write_text(_SOURCE, encoding="ascii")
    target = directory / "places"
    flags = ["-static"] if static else []
    subprocess.run(["gcc", "-fopenmp", "-Wall", *flags, "-o", target, source], check=True)
    return target
