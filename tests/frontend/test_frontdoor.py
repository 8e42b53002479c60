"""The agent's door, with real front-ends (`shim _rank`) and with peers that misbehave."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from shim.errors import ShimError
from shim.frontdoor import FrontDoor, Peer
from shim.ticket import Answer, Bound, Control, ExecFailed, Fallback, Hello, Refuse, Reply, Ticket
from shim.ticket_wire import encode

Decision = Callable[[Hello], Awaitable[Answer]]


class Office:
    """Decides as the test says, and keeps what happened in order."""

    def __init__(self, decide: Decision) -> None:
        self.decide = decide
        self.events: list[str] = []
        self.bounds: list[Bound] = []
        self.hellos: list[Hello] = []
        self.asked = asyncio.Event()
        self.over = asyncio.Event()

    async def ticket(self, hello: Hello, peer: Peer) -> Answer:
        self.asked.set()
        self.events.append("ticket")
        self.hellos.append(hello)
        return await self.decide(hello)

    def bound(self, peer: Peer, bound: Bound, host_pid: int) -> None:
        assert host_pid == peer.pid
        self.events.append("bound")
        self.bounds.append(bound)

    def started(self, peer: Peer) -> None:
        self.events.append("started")

    def exec_failed(self, peer: Peer, failure: ExecFailed) -> None:
        self.events.append(f"exec_failed {failure.errno} {failure.path}")

    def gone(self, peer: Peer) -> None:
        self.events.append("gone")
        self.over.set()

    async def control(self, request: Control) -> Reply:
        return Reply(3, " ".join(request.words))


async def native(hello: Hello) -> Answer:
    return Ticket((), {**hello.env, "GIVEN": "yes"}, cwd=hello.cwd, home="/")


Seen = tuple[Office, int, str, str]


def run_rank(
    frontend: Path,
    decide: Decision,
    *command: str,
    env: dict[str, str] | None = None,
    cwd: str | None = None,
    umask: int = -1,
) -> Seen:
    """One `shim _rank` over a socket pair; its office, exit code, stdout and stderr."""

    ours, theirs = socket.socketpair()
    words = ["_rank", "--socket-fd", str(theirs.fileno()), "--rank", "5", "--", *command]
    process = subprocess.Popen(
        [str(frontend), *words],
        pass_fds=(theirs.fileno(),),
        env={"PATH": "/usr/bin:/bin"} if env is None else env,
        cwd=cwd,
        umask=umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    theirs.close()

    async def conversation() -> Seen:
        office = Office(decide)
        door = FrontDoor(office)
        door.adopt(ours, process.pid)
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
        async with asyncio.timeout(10):
            await office.over.wait()
        await door.stop()
        return office, process.returncode, out, err

    return asyncio.run(conversation())


def test_a_rank_says_who_it_is_and_becomes_its_program(frontend: Path, tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "A": "x y", "ODD": "\udcff\n"}
    office, code, out, err = run_rank(
        frontend,
        native,
        "sh",
        "-c",
        "echo $GIVEN $A; pwd; umask; exit 6",
        env=env,
        cwd=str(tmp_path),
        umask=0o27,
    )
    assert (code, out, err) == (6, f"yes x y\n{tmp_path}\n0027\n", "")
    assert office.events == ["ticket", "bound", "started", "gone"]
    hello = office.hellos[0]
    assert (hello.rank, hello.command[0], hello.cwd, hello.umask) == (5, "sh", str(tmp_path), 0o27)
    assert hello.env == env
    assert hello.cpus == office.bounds[0].cpus
    assert int.from_bytes(hello.cpus, "little") == sum(1 << cpu for cpu in os.sched_getaffinity(0))


def test_the_rank_is_bound_and_reads_it_back(frontend: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    mask = (1 << cpu).to_bytes(cpu // 8 + 1, "little")

    async def bind(hello: Hello) -> Answer:
        return Ticket((), dict(hello.env), "/", "/", cpus=mask)

    office, _, out, _ = run_rank(frontend, bind, "grep", "Cpus_allowed_list", "/proc/self/status")
    assert out.split() == ["Cpus_allowed_list:", str(cpu)]
    assert office.bounds[0].cpus == mask


def test_a_mask_that_the_kernel_refuses_is_reported_as_it_is(frontend: Path) -> None:
    async def nowhere(hello: Hello) -> Answer:
        return Ticket((), dict(hello.env), "/", "/", cpus=b"\0" * 100 + b"\1")

    office, code, _, err = run_rank(frontend, nowhere, "true")
    assert code == 0
    assert "could not be bound to its CPUs" in err
    assert office.bounds[0].cpus == office.hellos[0].cpus


def test_an_environment_of_a_megabyte_arrives(frontend: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", **{f"V{i}": "x" * 1000 for i in range(1000)}}
    office, code, out, _ = run_rank(frontend, native, "sh", "-c", "echo ${#V999}", env=env)
    assert (code, out) == (0, "1000\n")
    assert office.hellos[0].env == env


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("not-there", 127, "was not found in the container"),
        ("/not/there", 127, "was not found in the container"),
        ("/etc/passwd", 126, "cannot be executed in the container: Permission denied"),
        ("/etc", 126, "cannot be executed"),
    ],
)
def test_a_program_that_cannot_be_executed(
    frontend: Path, program: str, code: int, words: str
) -> None:
    office, seen, _, err = run_rank(frontend, native, program)
    assert seen == code
    assert words in err
    assert err.count("shim:") == 1
    assert office.events[-2].startswith("exec_failed")
    assert office.events[-1] == "gone"


def test_a_script_without_interpreter_line_runs_in_a_shell(frontend: Path, tmp_path: Path) -> None:
    script = tmp_path / "bare"
    script.write_text("echo bare $1\n")
    script.chmod(0o755)
    assert run_rank(frontend, native, str(script), "x")[2] == "bare x\n"


def test_a_missing_interpreter_is_not_a_missing_program(frontend: Path, tmp_path: Path) -> None:
    script = tmp_path / "odd"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    _, code, _, err = run_rank(frontend, native, str(script))
    assert code == 127
    assert "interpreter or loader" in err


def test_a_refusal_is_the_ranks_exit(frontend: Path) -> None:
    async def refuse(hello: Hello) -> Answer:
        return Refuse(42, "No. Do that.")

    office, code, out, err = run_rank(frontend, refuse, "true")
    assert (code, out, err) == (42, "", "shim: No. Do that.\n")
    assert office.events == ["ticket", "gone"]


def test_an_error_of_the_office_is_a_refusal(frontend: Path) -> None:
    async def fail(hello: Hello) -> Answer:
        raise ShimError("It broke.", "Mend it.")

    _, code, _, err = run_rank(frontend, fail, "true")
    assert (code, err) == (125, "shim: It broke. Mend it.\n")


def test_a_fallback_runs_another_command_line(frontend: Path) -> None:
    async def fall_back(hello: Hello) -> Answer:
        argv = ("echo", "exec", "instance://x", *hello.command)
        return Fallback(argv, dict(hello.env), notes=("Said first.",))

    office, code, out, err = run_rank(frontend, fall_back, "prog", "arg")
    assert (code, out, err) == (0, "exec instance://x prog arg\n", "shim: Said first.\n")
    assert office.events == ["ticket", "bound", "started", "gone"]


def test_a_directory_that_is_not_there_is_replaced_and_said(frontend: Path) -> None:
    async def elsewhere(hello: Hello) -> Answer:
        return Ticket((), {**hello.env, "PWD": "/gone"}, cwd="/gone", home="/usr")

    _, code, out, err = run_rank(frontend, elsewhere, "sh", "-c", "pwd; echo $PWD")
    assert (code, out) == (0, "/usr\n/usr\n")
    assert "The working directory /gone cannot be entered" in err


def test_a_directory_that_was_asked_for_must_be_there(frontend: Path) -> None:
    async def strict(hello: Hello) -> Answer:
        return Ticket((), dict(hello.env), cwd="/gone", home="/", cwd_required=True)

    office, code, _, err = run_rank(frontend, strict, "true")
    assert code == 125
    assert "Name an existing one with --pwd" in err
    assert office.events == ["ticket", "gone"]


def test_umask_and_no_new_privs_are_set(frontend: Path) -> None:
    async def strict(hello: Hello) -> Answer:
        return Ticket((), dict(hello.env), "/", "/", umask=0o77, no_new_privs=True)

    _, _, out, _ = run_rank(frontend, strict, "grep", "-E", "Umask|NoNewPrivs", "/proc/self/status")
    assert out.split() == ["Umask:", "0077", "NoNewPrivs:", "1"]


def open_door(directory: Path, office: Office) -> tuple[FrontDoor, str]:
    path = str(directory / "door")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1000)
    door = FrontDoor(office, listener, progress_after=0.05)
    door.start()
    return door, path


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\1",
        struct.pack("<I", 64 << 20),
        struct.pack("<I", 3) + b"abc",
        b"GET / HTTP/1.1\r\n\r\n",
        encode(Refuse(1, "not a hello")),
    ],
)
def test_garbage_disturbs_nobody(tmp_path: Path, garbage: bytes) -> None:
    async def scene() -> None:
        office = Office(native)
        door, path = open_door(tmp_path, office)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(garbage)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        good_reader, good = await asyncio.open_unix_connection(path)
        good.write(encode(Hello(1, (), ("true",), "/", {}, b"\1", 0)))
        assert await asyncio.wait_for(good_reader.readexactly(4), 10)
        assert office.events == ["ticket"]
        good.close()
        await door.stop()

    asyncio.run(scene())


_WAITING = f"""
import socket, sys, time
front_end = socket.socket(socket.AF_UNIX)
front_end.connect(sys.argv[1])
front_end.sendall({encode(Hello(1, (), ("true",), "/", {}, b"x", 0))!r})
time.sleep(60)
"""


def test_a_front_end_that_dies_while_it_waits_is_noticed(tmp_path: Path) -> None:
    cancelled: list[bool] = []

    async def never(hello: Hello) -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        raise AssertionError

    async def scene() -> None:
        office = Office(never)
        door, path = open_door(tmp_path, office)
        waiting = await asyncio.create_subprocess_exec(sys.executable, "-c", _WAITING, path)
        async with asyncio.timeout(20):
            await office.asked.wait()
        waiting.kill()
        await waiting.wait()
        async with asyncio.timeout(10):
            await office.over.wait()
        assert office.events == ["ticket", "gone"]
        assert cancelled == [True]
        await door.stop()

    asyncio.run(scene())


def test_hundreds_of_front_ends_are_served(tmp_path: Path) -> None:
    async def scene() -> None:
        office = Office(native)
        door, path = open_door(tmp_path, office)

        async def one(rank: int) -> bytes:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(encode(Hello(rank, (), ("true",), "/", {"R": str(rank)}, b"\1", 0)))
            (length,) = struct.unpack("<I", await reader.readexactly(4))
            body = await reader.readexactly(length)
            writer.close()
            return body

        bodies = await asyncio.wait_for(asyncio.gather(*map(one, range(300))), 30)
        assert all(f"R={rank}".encode() in body for rank, body in enumerate(bodies))
        await door.stop()

    asyncio.run(scene())
