"""How the mesh comes up, who is let in, and what the user is told if it does not."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import zmq

from shim.errors import ShimError
from shim.overlay import HeadEndpoint, Overlay, join
from shim.overlay.head import check_descriptors
from shim.overlay.sockets import CurvePair, answer_zap
from shim.overlay.transport import LinkFailed, Transport
from tests.overlay.agents import LOOPBACK, ROOT, meshes, node_names, open_test_head, start_agent


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class TestStart:
    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_all_see_the_same_nodes(self, count: int) -> None:
        async def scenario() -> None:
            async with meshes(count) as made:
                assert [mesh.index for mesh in made] == list(range(count))
                assert {tuple(mesh.names) for mesh in made} == {node_names(count)}
                assert {mesh.nspace for mesh in made} == {"inner-7f"}
                assert not any(mesh.gone for mesh in made)

        asyncio.run(scenario())

    def test_one_node_loads_no_messaging_library_and_opens_no_descriptor(self) -> None:
        program = (
            "import asyncio, os, sys\n"
            "from shim.overlay import open_head\n"
            "async def main():\n"
            "    before = len(os.listdir('/proc/self/fd'))\n"
            "    head = open_head(('n0',), 'inner', '1.0')\n"
            "    await head.wait_complete(5)\n"
            "    head.subscribe('echo', lambda node, body: body)\n"
            "    assert await head.request(0, 'echo', [1], 5) == [1]\n"
            "    assert len(os.listdir('/proc/self/fd')) == before\n"
            "    await head.close()\n"
            "asyncio.run(main())\n"
            "print([name for name in sys.modules if name.split('.')[0] == 'zmq'])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
        )
        assert done.stdout == "[]\n"

    def test_a_late_node_makes_the_others_wait_and_progress_names_it(self) -> None:
        async def scenario() -> None:
            head_lines: list[str] = []
            member_lines: list[str] = []
            head = open_test_head(3, head_lines)
            blob = await head.listen(LOOPBACK)
            complete = asyncio.create_task(head.wait_complete(20))
            early = asyncio.create_task(
                join(blob, 1, head.names, progress=member_lines.append, addresses=LOOPBACK)
            )
            await asyncio.sleep(1.3)
            late = await join(blob, 2, head.names, addresses=LOOPBACK)
            await complete
            assert head_lines == ["waiting for 1 of 3 nodes: n2"]
            assert member_lines == ["waiting for 1 of 3 nodes: n2"]
            await asyncio.gather(head.close(), (await early).close(), late.close())

        asyncio.run(scenario())

    def test_the_start_time_out_names_the_missing_nodes_to_all_who_came(self) -> None:
        async def scenario() -> None:
            head = open_test_head(4)
            blob = await head.listen(LOOPBACK)
            came = asyncio.create_task(join(blob, 1, head.names, addresses=LOOPBACK))
            sentence = "The agents of 2 of 4 nodes did not join within 0.5 s: n2, n3."
            with pytest.raises(ShimError) as at_head:
                await head.wait_complete(0.5)
            assert at_head.value.message == sentence
            with pytest.raises(ShimError) as at_member:
                await came
            assert sentence in at_member.value.message
            await head.close()

        asyncio.run(scenario())

    def test_a_node_lost_while_others_join_ends_the_start(self) -> None:
        async def scenario() -> None:
            head = open_test_head(3)
            blob = await head.listen(LOOPBACK)
            agent = await start_agent(blob, 1, head.names)
            complete = asyncio.create_task(head.wait_complete(20))
            while 1 not in head.members.joined:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            agent.kill()
            await agent.wait()
            with pytest.raises(ShimError, match=r"Node n1 was lost .*: its agent ended without"):
                await complete
            await head.close()

        asyncio.run(scenario())

    def test_nothing_stays_open(self) -> None:
        async def scenario() -> int:
            async with meshes(3):
                pass
            return open_descriptors()

        asyncio.run(scenario())
        before = open_descriptors()
        for _ in range(10):
            asyncio.run(scenario())
        assert open_descriptors() == before


def test_a_process_that_ends_without_closing_does_not_hang() -> None:
    program = (
        "import asyncio\n"
        "from tests.overlay.agents import LOOPBACK, open_test_head\n"
        "from shim.overlay import join\n"
        "async def main():\n"
        "    head = open_test_head(2)\n"
        "    blob = await head.listen(LOOPBACK)\n"
        "    mesh, _ = await asyncio.gather(\n"
        "        join(blob, 1, head.names, addresses=LOOPBACK), head.wait_complete(9))\n"
        "    for number in range(1000):\n"
        "        mesh.post((0,), 'nobody-reads', bytes(10000))\n"
        "    raise SystemExit(3)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False, timeout=10)
    assert done.returncode == 3


@pytest.mark.parametrize("nodes", [1, 100_000])
def test_more_nodes_than_descriptors_are_refused_before_anything_is_opened(nodes: int) -> None:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(allowed, 4096), most))
    try:
        if nodes == 1:
            check_descriptors(nodes)
        else:
            with pytest.raises(ShimError, match=r"needs 200128 open files") as caught:
                check_descriptors(nodes)
            assert "ulimit -n 200128" in caught.value.hint
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))


class TestGrowth:
    def test_a_later_node_gets_the_next_index_and_everybody_learns_of_it(self) -> None:
        async def scenario() -> None:
            async with meshes(2) as made:
                heard: list[tuple[int, int, str]] = []

                def listen(mesh: Overlay) -> None:
                    mesh.on_joined(lambda node, name: heard.append((mesh.index, node, name)))
                    mesh.subscribe("who", lambda _, body: [mesh.index, body])

                for mesh in made:
                    listen(mesh)
                blob = await made[0].listen(LOOPBACK)  # type: ignore[attr-defined]
                grown = await join(blob, None, node_names(2), addresses=LOOPBACK)
                grown.subscribe("who", lambda _, body: [2, body])
                name = os.uname().nodename
                assert grown.index == 2
                assert await grown.request(1, "who", "x", 5) == [1, "x"]
                assert await made[1].request(2, "who", "y", 5) == [2, "y"]
                assert sorted(heard) == [(0, 2, name), (1, 2, name)]
                assert {mesh.generation for mesh in (*made, grown)} == {2}
                await grown.close()

        asyncio.run(scenario())

    def test_a_job_of_one_node_opens_when_it_grows(self) -> None:
        async def scenario() -> None:
            head = open_test_head(1)
            await head.wait_complete(1)
            blob = await head.listen(LOOPBACK)
            grown = await join(blob, None, head.names, addresses=LOOPBACK)
            head.subscribe("echo", lambda _, body: body)
            assert await grown.request(0, "echo", "hello", 5) == "hello"
            await asyncio.gather(grown.close(), head.close())

        asyncio.run(scenario())


class TestWhoIsLetIn:
    def test_a_wrong_client_key_is_refused(self) -> None:
        async def scenario() -> None:
            head = open_test_head(2)
            blob = await head.listen(LOOPBACK)
            stranger = CurvePair.make()
            forged = replace(
                HeadEndpoint.unpack(blob),
                client_public=stranger.public,
                client_secret=stranger.secret,
            )
            with pytest.raises(ShimError, match="it refused this job's key"):
                await join(forged.pack(), 1, head.names, addresses=LOOPBACK)
            assert head.members.missing == ("n1",)
            await head.close()

        asyncio.run(scenario())

    def test_a_head_that_cannot_prove_its_key_is_not_trusted(self) -> None:
        async def scenario() -> None:
            head = open_test_head(2)
            blob = await head.listen(LOOPBACK)
            other = replace(HeadEndpoint.unpack(blob), server_key=CurvePair.make().public)
            with pytest.raises(ShimError, match="the encrypted handshake failed"):
                await join(other.pack(), 1, head.names, addresses=LOOPBACK)
            await head.close()

        asyncio.run(scenario())

    def test_a_client_without_encryption_gets_nowhere(self) -> None:
        async def scenario() -> None:
            head = open_test_head(2)
            address = HeadEndpoint.unpack(await head.listen(LOOPBACK)).addresses[0]
            with zmq.Context() as context, context.socket(zmq.DEALER) as plain:
                plain.linger = 0
                plain.connect(address)
                plain.send(b"\x94\xff\xaamesh.hello\x00\x90")
                await asyncio.sleep(0.3)
            assert head.members.missing == ("n1",)
            await head.close()

        asyncio.run(scenario())

    @pytest.mark.parametrize("mechanism", [b"NULL", b"PLAIN", b"CURVE"])
    def test_the_gate_knows_one_key(self, mechanism: bytes) -> None:
        allowed = CurvePair.make().public
        stranger = bytes(range(32))
        question = [b"1.0", b"7", b"shim", b"10.0.0.9", b"", mechanism, stranger]
        assert answer_zap(question, allowed)[:3] == [b"1.0", b"7", b"400"]

    def test_random_bytes_on_the_port_do_not_hurt(self) -> None:
        async def scenario() -> None:
            async with meshes(2) as made:
                address = made[1].members.joined[0].endpoint.addresses[0]
                port = int(address.rpartition(":")[2])
                for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(100_000)):
                    await asyncio.to_thread(send_raw, port, garbage)
                made[0].subscribe("echo", lambda _, body: body)
                assert await made[1].request(0, "echo", "alive", 5) == "alive"
                assert not made[0].gone

        asyncio.run(scenario())

    def test_an_index_that_is_taken_is_refused(self) -> None:
        async def scenario() -> None:
            async with meshes(2) as made:
                blob = await made[0].listen(LOOPBACK)  # type: ignore[attr-defined]
                with pytest.raises(ShimError, match="another agent has joined as node 1"):
                    await join(blob, 1, node_names(2), addresses=LOOPBACK)
                with pytest.raises(ShimError, match="this job has no node 7"):
                    await join(blob, 7, node_names(8), addresses=LOOPBACK)
                # Whoever was refused must not have said goodbye in the name of the real node 1.
                made[1].subscribe("echo", lambda _, body: body)
                assert await made[0].request(1, "echo", "here", 5) == "here"

        asyncio.run(scenario())

    @pytest.mark.parametrize("blob", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x92\x63\x01"])
    def test_a_damaged_endpoint_is_refused(self, blob: bytes) -> None:
        with pytest.raises(ShimError, match=r"not an endpoint|version"):
            asyncio.run(join(blob, 1, node_names(2)))

    def test_a_head_that_is_not_there_is_named(self) -> None:
        async def scenario() -> None:
            head = open_test_head(2)
            blob = await head.listen(LOOPBACK)
            await head.close()
            started = time.monotonic()
            with pytest.raises(ShimError, match=r"cannot reach the head agent on n0 .*ended"):
                await join(blob, 1, head.names, addresses=LOOPBACK)
            assert time.monotonic() - started < 2

        asyncio.run(scenario())

    def test_of_several_addresses_the_one_that_works_is_used(self) -> None:
        async def scenario() -> None:
            head = open_test_head(2)
            endpoint = HeadEndpoint.unpack(await head.listen(LOOPBACK))
            with socket.socket() as closed_port:  # bound, not listening: connections are refused
                closed_port.bind(("127.0.0.1", 0))
                dead = f"tcp://127.0.0.1:{closed_port.getsockname()[1]}"
                blob = replace(endpoint, addresses=(dead, *endpoint.addresses)).pack()
                mesh = await join(blob, 1, head.names, addresses=LOOPBACK)
            await asyncio.gather(mesh.close(), head.close())

        asyncio.run(scenario())

    def test_an_address_that_cannot_be_bound_is_an_error_with_a_remedy(self) -> None:
        async def scenario() -> None:
            head = open_test_head(2)
            with pytest.raises(ShimError, match="cannot listen") as caught:
                await head.listen(["192.0.2.1"])  # TEST-NET-1, nobody's
            assert caught.value.hint
            await head.close()

        asyncio.run(scenario())


def send_raw(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
        try:
            stranger.sendall(data)
            stranger.settimeout(0.3)
            while stranger.recv(4096):
                pass
        except OSError:
            pass  # closed on us, or silence: either is fine


def test_a_second_link_to_the_same_address_is_refused() -> None:
    """libzmq would abort the process over a repeated routing id, so it must not get that far."""

    async def scenario() -> None:
        client = CurvePair.make()
        ends = [Transport(client, lambda _: None, lambda _: None) for _ in range(2)]
        (address,) = ends[0].listen(LOOPBACK)
        await ends[1].connect(address, ends[0].server_key)
        with pytest.raises(LinkFailed, match="a link to"):
            await ends[1].connect(address, ends[0].server_key)
        for end in ends:
            end.close()

    asyncio.run(scenario())
