"""The programs of an image, run without any container: what container runs are compared with.

The image is unpacked once into the shared directory. The very same binary then runs on the node:

- openmpi-5.0: with the node's own libraries. They are the same Debian packages.
- openmpi-4.1: the nodes have another Open MPI, so with the libraries of the unpacked root, by that
  root's own dynamic loader. No namespace, no chroot: the kernel sees an ordinary program.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.harness import image, note
from testbed import Cluster

DIRECTORY = "/shared/bench"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class NativeProgram:
    """A command prefix-free program: what to execute, and with which variables."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)


def unpack(cluster: Cluster, name: str) -> str:
    """Unpack an image for native runs; returns the directory, as the nodes see it."""
    root = f"{DIRECTORY}/{name}"
    # Another cluster of the same name may have had another image.
    script = f"""
        set -e
        mkdir -p {DIRECTORY}
        if [ {root}/.unpacked -nt {image(name)} ]; then exit 0; fi
        rm -rf {root}
        apptainer --quiet build --sandbox {root} {image(name)}
        touch {root}/.unpacked
    """
    note(f"unpacking {name} for the native runs")
    cluster.run(["sh", "-c", script], timeout=300, check=True)
    return root


def native_program(name: str, root: str, program: str) -> NativeProgram:
    """The unpacked image's *program* as a native command."""
    binary = f"{root}/usr/local/bin/{program}"
    if name == "openmpi-5.0":
        return NativeProgram((binary,))
    libraries = f"{root}/{_LIBRARIES}"
    search = ":".join((libraries, f"{libraries}/pmix2/lib", f"{libraries}/openmpi/lib"))
    loader = f"{libraries}/ld-linux-x86-64.so.2"
    # OPAL_PREFIX moves Open MPI's components and help files with it, PMIX_INSTALL_PREFIX libpmix's.
    return NativeProgram(
        (loader, "--library-path", search, binary),
        {"OPAL_PREFIX": f"{root}/usr", "PMIX_INSTALL_PREFIX": f"{libraries}/pmix2"},
    )
