"""Mistakes that a user makes, on a real node: one sentence, a remedy, a documented exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frontend.bench import Bench

pytestmark = pytest.mark.cluster


def refused(bench: Bench, *words: str, code: int = 125, env: dict[str, str] | None = None) -> str:
    """The one line that the user reads, beside that about a long wait."""
    seen = bench.exec(*words, env=env)
    assert seen.returncode == code, seen.stderr
    assert seen.stdout == ""
    said = [line for line in seen.stderr.splitlines() if line.startswith("shim: ")]
    lines = [line for line in said if "is starting" not in line]
    assert len(lines) == 1, seen.stderr
    assert "Traceback" not in seen.stderr
    return lines[0].removeprefix("shim: ")


def place(bench: Bench, name: str, data: bytes, mode: int = 0o644) -> str:
    path = bench.host / name
    path.write_bytes(data)
    path.chmod(mode)
    return f"{bench.inside}/{name}"


def small_image(bench: Bench) -> bytes:
    return (bench.host / "small.sif").read_bytes()


def test_a_missing_image(bench: Bench) -> None:
    assert "does not exist on this node" in refused(bench, "/shared/none.sif", "true")


def test_a_file_that_is_no_image(bench: Bench) -> None:
    path = place(bench, "text.sif", b"hello\n")
    assert "is not a container image" in refused(bench, path, "true")


def test_an_unreadable_image(bench: Bench) -> None:
    path = place(bench, "secret.sif", small_image(bench), mode=0)
    assert "cannot be read: Permission denied" in refused(bench, path, "true")


def test_an_image_in_an_unreadable_directory(bench: Bench) -> None:
    directory = bench.host / "closed"
    directory.mkdir(exist_ok=True)
    directory.chmod(0o700)
    assert "cannot be read" in refused(bench, f"{bench.inside}/closed/app.sif", "true")


def test_an_image_of_another_architecture(bench: Bench) -> None:
    data = bytearray(small_image(bench))
    data[45:47] = b"04"
    said = refused(bench, place(bench, "arm.sif", bytes(data)), "true")
    assert "is built for arm64, and this node is amd64" in said


def test_an_image_cut_short(bench: Bench) -> None:
    said = refused(bench, place(bench, "short.sif", small_image(bench)[:40000]), "true")
    assert "The container runtime could not start" in said


def test_a_program_that_is_not_there_or_may_not_be_executed(bench: Bench) -> None:
    said = refused(bench, bench.image, "not-there", code=127)
    assert "was not found in the container" in said
    said = refused(bench, bench.image, "/opt/tool/bin/not-executable", code=126)
    assert "cannot be executed in the container: Permission denied" in said


def test_no_runtime_on_path(bench: Bench) -> None:
    said = refused(bench, bench.image, "true", env={"PATH": f"{bench.inside}/bin:/bin2"})
    assert "Neither apptainer nor singularity is on PATH" in said


def test_a_runtime_that_is_not_one(bench: Bench) -> None:
    said = refused(bench, "--runtime", "/etc/passwd", bench.image, "true")
    assert "was not found or is not executable" in said
    said = refused(bench, "--runtime", "/bin/true", bench.image, "true")
    assert "The container runtime could not start" in said


def test_a_bind_source_that_is_not_there(bench: Bench) -> None:
    said = refused(bench, "--bind", "/no/such/directory", bench.image, "true")
    assert "/no/such/directory" in said
    assert "--bind" in said


def test_a_working_directory_that_is_not_there(bench: Bench) -> None:
    said = refused(bench, "--pwd", "/no/such/directory", bench.image, "true")
    assert "/no/such/directory" in said
    assert "--pwd" in said


def test_an_image_of_a_registry(bench: Bench) -> None:
    assert "pull" in refused(bench, "docker://alpine", "true")


def test_user_namespaces_that_are_off(bench: Bench) -> None:
    """In a user namespace of its own, whose limit on further ones is 0."""
    script = (
        "echo 0 >/proc/sys/user/max_user_namespaces; "
        f"exec setpriv --reuid 1000 --regid 1000 --clear-groups shim exec {bench.image} true"
    )
    seen = bench.run(
        [
            "unshare",
            "--user",
            "--map-users=0,0,65536",
            "--map-groups=0,0,65536",
            "sh",
            "-c",
            script,
        ],
        user="root",
        env={"HOME": "/home/demo"},
    )
    assert seen.returncode == 125
    assert "User namespaces are off on this node (user.max_user_namespaces is 0)" in seen.stderr


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_a_large_environment_works(bench: Bench, size: int) -> None:
    script = (
        f"i=0; while [ $i -lt {size // 10_000} ]; do i=$((i+1)); "
        'export BIG_$i=$(head -c 10000 /dev/zero | tr "\\0" x); done; exec "$@"'
    )
    words = ["shim", "exec", bench.image, "sh", "-c", "echo ${#BIG_1}"]
    seen = bench.run(["sh", "-c", script, "sh", *words])
    assert (seen.returncode, seen.stdout) == (0, "10000\n"), seen.stderr


def test_strange_names(bench: Bench) -> None:
    directory = Path("a b'\"$(id)\\ü")
    (bench.host / directory).mkdir(exist_ok=True)
    (bench.host / directory).chmod(0o777)
    image = bench.host / directory / "app;x.sif"
    if not image.exists():
        image.hardlink_to(bench.host / "small.sif")
    inside = f"{bench.inside}/{directory}"
    task = ["shim", "exec", f"{inside}/app;x.sif", "sh", "-c", 'pwd; echo "$SLURM_JOB_NAME"']
    seen = bench.run(
        ["srun", "--job-name", "a'b\"c $(id)", "--mpi=pmix", "-n1", "--chdir", inside, *task]
    )
    assert seen.stdout == f"{inside}\na'b\"c $(id)\n", seen.stderr
