"""Boot the virtual machine and read the results that its guest prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

MARK = "RESULT "
_KERNEL_PACKAGE = "linux-image-cloud-amd64"
_QEMU = "qemu-system-x86_64"


def boot(kernel: Path, initramfs: Path, limit_s: float) -> dict[str, Any]:
    """Run the guest to its end; its results by name.

    Emulated (`tcg`), since nested virtualisation is not everywhere; with all features (`max`),
    since Python waits for random numbers that the kernel takes from the CPU; as an Intel chip,
    on which the kernel sees hardware threads.
    """
    done = subprocess.run(
        [
            _QEMU, "-accel", "tcg", "-cpu", "max,vendor=GenuineIntel", "-m", "1024",
            "-nographic", "-no-reboot", "-smp", "16,sockets=2,cores=4,threads=2",
            "-object", "memory-backend-ram,id=m0,size=512M",
            "-object", "memory-backend-ram,id=m1,size=512M",
            "-numa", "node,cpus=0-7,memdev=m0", "-numa", "node,cpus=8-15,memdev=m1",
            "-kernel", str(kernel), "-initrd", str(initramfs),
            "-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on rdinit=/init",
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=True,
        errors="replace",
    )  # fmt: skip
    results = {}
    for line in done.stdout.splitlines():
        if MARK in line:
            name, value = json.loads(line.partition(MARK)[2])
            results[name] = value
    if results.get("end") != "reached":
        raise AssertionError(f"the guest did not reach its end:\n{done.stdout[-4000:]}")
    return results


def kernel() -> Path:
    """Debian's cloud kernel, unpacked into the cache once; qemu too is installed if missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shim-vm"
    if not shutil.which(_QEMU):
        _run(["apt-get", "install", "-y", "--no-install-recommends", "qemu-system-x86"])
    found = sorted(cache.glob("boot/vmlinuz-*"))
    if found:
        return found[-1]
    cache.mkdir(parents=True, exist_ok=True)
    told = _run(["apt-cache", "depends", _KERNEL_PACKAGE])
    package = next(
        line.split()[-1] for line in told.splitlines() if line.strip().startswith("Depends: linux-")
    )
    _run(["apt-get", "download", package], cwd=cache)
    archive = next(cache.glob(f"{package}_*.deb"))
    _run(["dpkg-deb", "--extract", str(archive), str(cache)])
    archive.unlink()
    shutil.rmtree(cache / "lib", ignore_errors=True)
    return sorted(cache.glob("boot/vmlinuz-*"))[-1]


def _run(argv: list[str], cwd: Path | None = None) -> str:
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True).stdout
