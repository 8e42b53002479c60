"""The workbench of these tests: `shim` and a small image in a directory that all nodes see."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from testbed import Cluster

ROOT = Path(__file__).parents[2]
_IMAGE_PROGRAMS = ("sh", "env", "cat", "sleep", "id", "readlink", "ls", "true", "head", "kill")

_ENVIRONMENT_SCRIPT = """\
export IMAGE_SAYS=hello
export PATH="/opt/tool/bin:$PATH"
"""

_WRAPPER = """\
#!/bin/sh
# Stands in for `python3 -E -P -m MODULE`: the test's agent in place of shim.agent.
shift 3
module=$1
shift
case $module in shim.agent) module=tests.frontend.plain_agent ;; esac
PYTHONPATH={source} exec /usr/bin/python3 -P -m "$module" "$@"
"""


@dataclass(frozen=True)
class Bench:
    """Commands of the front-end on the cluster's nodes."""

    cluster: Cluster
    host: Path
    """The bench's directory as this machine sees it."""
    inside: str
    """The same directory on the nodes."""

    @property
    def image(self) -> str:
        return f"{self.inside}/small.sif"

    @property
    def sandbox(self) -> str:
        return f"{self.inside}/sandbox"

    def run(
        self,
        argv: list[str],
        *,
        node: str = "n1",
        user: str = "demo",
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a node with `shim` and the test's agent in place."""
        return self.cluster.run(
            argv, user=user, node=node, env=self.environment(env), cwd=cwd, timeout=timeout
        )

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        return {
            "PATH": f"{self.inside}/bin:/usr/local/bin:/usr/bin:/bin",
            "SHIM_PYTHON": f"{self.inside}/bin/test-python",
            "APPTAINER_BIND": "/shared",
            **(extra or {}),
        }

    def exec(
        self, *words: str, env: dict[str, str] | None = None, cwd: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run(["shim", "exec", *words], env=env, cwd=cwd)


def set_up(cluster: Cluster) -> Bench:
    """Build everything below the cluster's shared directory, as the ordinary user owns it."""
    bench = Bench(cluster, cluster.shared / "bench", "/shared/bench")
    if (bench.host / "small.sif").exists():
        _install(bench)
        return bench
    (bench.host / "bin").mkdir(parents=True, exist_ok=True)
    bench.host.chmod(0o777)
    _install(bench)
    _make_sandbox(bench)
    built = bench.run(["apptainer", "build", bench.image, bench.sandbox], timeout=240)
    assert built.returncode == 0, built.stderr
    return bench


def _install(bench: Bench) -> None:
    """The front-end and the Python sources as they are in this tree."""
    source = bench.host / "source"
    shutil.rmtree(source, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "shim", source / "shim", ignore=ignore)
    shutil.copytree(ROOT / "tests/frontend", source / "tests/frontend", ignore=ignore)
    (source / "tests/__init__.py").touch()
    wrapper = bench.host / "bin/test-python"
    wrapper.write_text(_WRAPPER.format(source=f"{bench.inside}/source"))
    wrapper.chmod(0o755)
    compile_frontend(bench.host / "bin/shim", bench.host)
    compile_static(ROOT / "tests/container/probe.c", bench.host / "bin/probe")


def compile_frontend(program: Path, scratch: Path) -> None:
    """Build `shim` from source, as setup.py does."""
    header = scratch / "shim_options.h"
    subprocess.run(
        [sys.executable, "-m", "shim.options", "--header", str(header)], check=True, cwd=ROOT
    )
    sources = sorted(map(str, (ROOT / "c_ext/frontend").glob("*.c")))
    fresh = program.with_suffix(".new")
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static"]
    subprocess.run(["cc", *flags, f"-I{header.parent}", "-o", str(fresh), *sources], check=True)
    fresh.rename(program)


def compile_static(source: Path, program: Path) -> None:
    fresh = program.with_suffix(".new")
    subprocess.run(["cc", "-O1", "-static", "-o", str(fresh), str(source)], check=True)
    fresh.rename(program)


def _make_sandbox(bench: Bench) -> None:
    """A root with a few of the node's own programs, their libraries, and an environment script."""
    script = f"""
set -e
root={bench.sandbox}
mkdir -p $root/bin $root/etc $root/tmp $root/proc $root/sys $root/dev $root/root $root/home
mkdir -p $root/var/tmp $root/usr/bin $root/opt/tool/bin $root/.singularity.d/env
mkdir -p $root/scratch $root/shared
for program in {" ".join(_IMAGE_PROGRAMS)}; do
    path=$(command -v $program) || path=/bin/$program
    case $path in /*) ;; *) path=/bin/$program ;; esac
    cp -L $path $root/bin/
    for library in $(ldd $path | grep -o '/[^ ]*'); do
        mkdir -p $root$(dirname $library); cp -nL $library $root$library
    done
done
cp {bench.inside}/bin/probe $root/bin/probe
printf '#!/bin/sh\\necho tool "$@"\\n' >$root/opt/tool/bin/tool
printf 'echo no interpreter "$@"\\n' >$root/opt/tool/bin/bare
chmod 755 $root/opt/tool/bin/*
printf 'plain text\\n' >$root/opt/tool/bin/not-executable
echo root:x:0:0::/root:/bin/sh >$root/etc/passwd
echo root:x:0: >$root/etc/group
touch $root/etc/resolv.conf $root/etc/hosts $root/etc/localtime
cp {bench.inside}/environment.sh $root/.singularity.d/env/90-environment.sh
"""
    (bench.host / "environment.sh").write_text(_ENVIRONMENT_SCRIPT)
    made = bench.cluster.run(["sh", "-c", script], user="demo", node="n1")
    assert made.returncode == 0, made.stderr
