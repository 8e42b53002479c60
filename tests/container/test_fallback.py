"""Where ranks may not join by setns: the runtime's own `exec instance://`, and said."""

from __future__ import annotations

import pytest

from tests.frontend.bench import Bench
from tests.frontend.desk import eventually

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def setuid_runtime(bench: Bench) -> str:
    """The node's Apptainer behind a path whose installation has a setuid-root starter.

    Apptainer itself goes on unprivileged, so what is tested is what shim does about it.
    """
    script = f"""
prefix={bench.inside}/setuid
mkdir -p $prefix/bin $prefix/libexec/apptainer/bin
printf '#!/bin/sh\\nexec /usr/bin/apptainer "$@"\\n' >$prefix/bin/apptainer
cp /bin/true $prefix/libexec/apptainer/bin/starter-suid
chmod 755 $prefix/bin/apptainer
chown root $prefix/libexec/apptainer/bin/starter-suid
chmod 4755 $prefix/libexec/apptainer/bin/starter-suid
"""
    made = bench.run(["sh", "-c", script], user="root")
    assert made.returncode == 0, made.stderr
    return f"{bench.inside}/setuid/bin/apptainer"


def instances(bench: Bench) -> list[str]:
    listed = bench.run(["apptainer", "instance", "list"]).stdout.splitlines()[1:]
    names = [line.split()[0] for line in listed if line.split()]
    return [name for name in names if name.startswith("shim-")]


def test_ranks_go_through_one_instance(bench: Bench, setuid_runtime: str) -> None:
    words = ["shim", "exec", "--runtime", setuid_runtime, bench.image]
    script = "echo $SLURM_PROCID $SHIM_RANK $APPTAINER_NAME; readlink /proc/self/ns/mnt"
    seen = bench.run(["srun", "--mpi=pmix", "-n2", "--overcommit", *words, "sh", "-c", script])
    assert seen.returncode == 0, seen.stderr
    lines = seen.stdout.splitlines()
    ranks = sorted(line.split()[:2] for line in lines if "mnt" not in line)
    assert ranks == [["0", "0"], ["1", "1"]]
    assert len({line for line in lines if "mnt" in line}) == 1
    assert eventually(lambda: not instances(bench))


@pytest.mark.parametrize(
    ("options", "command", "out"),
    [
        (["--env", "X=a b"], "echo $X", "a b\n"),
        (["--pwd", "/tmp"], "pwd", "/tmp\n"),
        (["--bind", "/opt:/mnt/x"], "ls -d /mnt/x", "/mnt/x\n"),
        (["--cleanenv"], "echo $KEPT:$SHIM_RANK", ":0\n"),
        (["--containall"], "echo $KEPT:$SHIM_RANK", ":0\n"),
        ([], "echo $KEPT:$SHIM_RANK", "kept:0\n"),
    ],
)
def test_options_keep_their_meaning(
    bench: Bench, setuid_runtime: str, options: list[str], command: str, out: str
) -> None:
    seen = bench.exec(
        "--runtime",
        setuid_runtime,
        *options,
        bench.image,
        "sh",
        "-c",
        command,
        env={"KEPT": "kept"},
    )
    assert (seen.returncode, seen.stdout) == (0, out), seen.stderr


def test_exit_codes_come_through(bench: Bench, setuid_runtime: str) -> None:
    seen = bench.exec("--runtime", setuid_runtime, bench.image, "sh", "-c", "exit 7")
    assert seen.returncode == 7


def test_an_instance_that_cannot_start_is_explained(bench: Bench, setuid_runtime: str) -> None:
    seen = bench.exec("--runtime", setuid_runtime, "--bind", "/no/such", bench.image, "true")
    assert seen.returncode == 125
    assert "The container runtime could not start" in seen.stderr
    assert "/no/such" in seen.stderr


def test_with_userns_the_same_runtime_is_joined(bench: Bench, setuid_runtime: str) -> None:
    seen = bench.exec(
        "--userns", "--runtime", setuid_runtime, bench.image, "sh", "-c", "readlink /proc/1/exe"
    )
    assert "instance" not in seen.stderr
    assert seen.returncode == 1  # the host's process 1, which is not ours to look at


def test_a_seccomp_filter_leads_to_the_instance(bench: Bench) -> None:
    # Apptainer's own default profile forbids clone3, which its own threads need at times.
    (bench.host / "seccomp.json").write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": '
        '[{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]}'
    )
    profile = f"{bench.inside}/seccomp.json"
    seen = bench.exec("--security", f"seccomp:{profile}", bench.image, "cat", "/proc/self/status")
    assert seen.returncode == 0, seen.stderr
    status = dict(line.split(":", 1) for line in seen.stdout.splitlines())
    assert status["Seccomp"].strip() == "2"
