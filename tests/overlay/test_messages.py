"""What the mesh promises about messages."""

from __future__ import annotations

import asyncio
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmix_server.errors import PmixError
from pmix_server.mesh_messages import Body, Envelope, RequestFailed, RequestTimeout
from pmix_server.status import Status
from shim.agent.lifecycle import Abort, Lifecycle, Notice, PartEnded, RankExited
from shim.agent.lifecycle import from_body as notice_from_body
from shim.agent.lifecycle import to_body as notice_to_body
from shim.overlay import Overlay
from shim.overlay.wire import decode, encode
from tests.overlay.agents import EVERYBODY, collectives_of, meshes

BODIES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=200),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.integers(-1, 2**31), st.text(max_size=20), st.integers(-(2**40), 2**40), BODIES)
def test_a_message_is_read_as_it_was_written(
    source: int, kind: str, correlation: int, body: Body
) -> None:
    envelope = Envelope(source, kind, correlation, body)
    assert decode(encode(envelope)) == envelope


@given(st.binary(max_size=300))
def test_bytes_that_are_no_message_are_a_value_error(frame: bytes) -> None:
    try:
        decode(frame)
    except ValueError as error:
        assert "not a message" in str(error)  # noqa: PT017 - some byte strings are messages


class TestDelivery:
    def test_messages_between_two_nodes_keep_their_order(self) -> None:
        async def scenario() -> None:
            async with meshes(3) as made:
                got: list[int] = []
                last = asyncio.Event()

                def take(_: int, body: Body) -> None:
                    got.append(body)
                    if body == 4999:
                        last.set()

                made[2].subscribe("count", take)
                for number in range(5000):
                    made[1].post((2,), "count", number)
                async with asyncio.timeout(20):
                    await last.wait()
                assert got == list(range(5000))

        asyncio.run(scenario())

    def test_what_comes_before_the_subscriber_is_kept_for_it(self) -> None:
        async def scenario() -> None:
            async with meshes(2) as made:
                await made[1].send(0, "early", "hello")
                answer = asyncio.create_task(made[1].request(0, "early-question", 20, 5))
                await asyncio.sleep(0.1)
                got: list[Body] = []
                made[0].subscribe("early", lambda node, body: got.append([node, body]))
                made[0].subscribe("early-question", lambda _, body: body + 1)
                assert got == [[1, "hello"]]
                assert await answer == 21

        asyncio.run(scenario())

    def test_a_node_can_send_to_itself_but_never_within_the_call(self) -> None:
        async def scenario() -> None:
            async with meshes(2) as made:
                got: list[Body] = []
                made[0].subscribe("note", lambda _, body: got.append(body))
                made[0].post((0,), "note", "self")
                assert got == []
                await asyncio.sleep(0.01)
                assert got == ["self"]

        asyncio.run(scenario())

    def test_a_broadcast_reaches_every_other_node_once_with_its_origin(self) -> None:
        async def scenario() -> None:
            async with meshes(4) as made:
                got: list[tuple[int, int, Body]] = []

                def listen(mesh: Overlay) -> None:
                    mesh.subscribe("all", lambda node, body: got.append((mesh.index, node, body)))

                for mesh in made:
                    listen(mesh)
                made[0].broadcast("all", "from head")
                made[2].broadcast("all", "from 2")
                await asyncio.sleep(0.3)
                wanted = [(at, 0, "from head") for at in (1, 2, 3)]
                wanted += [(at, 2, "from 2") for at in (0, 1, 3)]
                assert sorted(got) == sorted(wanted)

        asyncio.run(scenario())

    def test_sixteen_megabytes_arrive(self) -> None:
        async def scenario() -> None:
            async with meshes(2) as made:
                both = [collectives_of(mesh, 2) for mesh in made]
                blobs = [bytes([node]) * 2**24 for node in range(2)]
                fences = (
                    c.fence(EVERYBODY, blob, True) for c, blob in zip(both, blobs, strict=True)
                )
                results = await asyncio.gather(*fences)
                assert results == [blobs[0] + blobs[1]] * 2

        asyncio.run(scenario())


class TestRequests:
    def test_an_answer_comes_to_its_question(self) -> None:
        async def later(_: int, body: Body) -> Body:
            await asyncio.sleep(0.01 * (5 - body))
            return body * 10

        async def scenario() -> None:
            async with meshes(2) as made:
                made[1].subscribe("times-ten", later)
                questions = (made[0].request(1, "times-ten", number, 5) for number in range(5))
                assert await asyncio.gather(*questions) == [0, 10, 20, 30, 40]

        asyncio.run(scenario())

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_an_error_comes_back_with_its_status(self, asynchronous: bool) -> None:
        def refuse(_: int, body: Body) -> Body:
            raise PmixError(f"No {body}.", status=Status.ERR_NOT_FOUND)

        async def refuse_later(node: int, body: Body) -> Body:
            return refuse(node, body)

        async def scenario() -> None:
            async with meshes(2) as made:
                made[1].subscribe("get", refuse_later if asynchronous else refuse)
                with pytest.raises(RequestFailed, match="No key") as caught:
                    await made[0].request(1, "get", "key", 5)
                assert caught.value.status == Status.ERR_NOT_FOUND

        asyncio.run(scenario())

    def test_no_answer_is_a_time_out(self) -> None:
        async def scenario() -> None:
            async with meshes(2) as made:
                with pytest.raises(RequestTimeout) as caught:
                    await made[0].request(1, "nobody-answers", None, 0.1)
                assert caught.value.status == Status.ERR_TIMEOUT

        asyncio.run(scenario())

    def test_a_node_that_does_not_exist_is_a_mistake_of_the_caller(self) -> None:
        async def scenario() -> None:
            async with meshes(2) as made:
                with pytest.raises(IndexError):
                    await made[0].request(2, "echo", None, 1)

        asyncio.run(scenario())


class TestNotices:
    NOTICES = (
        Abort("inner", 3, 7, "MPI_Abort was called"),
        Abort("inner", 3, 7, "two of us", (("inner", 1), ("inner", 2))),
        RankExited("inner", 5, 9, owed=True),
        PartEnded("inner", 3),
    )

    @pytest.mark.parametrize("notice", NOTICES)
    def test_a_notice_is_read_as_it_was_written(self, notice: Notice) -> None:
        frame = encode(Envelope(0, "life", 0, notice_to_body(notice)))
        assert notice_from_body(decode(frame).body) == notice

    def test_all_other_agents_get_it(self) -> None:
        async def scenario() -> None:
            async with meshes(3) as made:
                got: list[tuple[int, int, Notice]] = []

                def listen(mesh: Overlay) -> Lifecycle:
                    return Lifecycle(mesh, lambda node, what: got.append((mesh.index, node, what)))

                _, middle, _ = [listen(mesh) for mesh in made]
                middle.tell_all(self.NOTICES[0])
                await asyncio.sleep(0.2)
                assert sorted(got) == [(0, 1, self.NOTICES[0]), (2, 1, self.NOTICES[0])]

        asyncio.run(scenario())


def test_an_idle_mesh_uses_no_cpu() -> None:
    async def scenario() -> float:
        async with meshes(3):
            await asyncio.sleep(0.5)
            before = cpu_seconds()
            await asyncio.sleep(3)
            return cpu_seconds() - before

    assert asyncio.run(scenario()) < 0.01


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
