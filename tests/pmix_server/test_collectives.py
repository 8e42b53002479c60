"""Fences and direct modex over a network whose order of arrival an adversary chooses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmix_server.collectives import Collectives
from pmix_server.errors import PmixError
from pmix_server.fence import CollectiveError, Fences, digest
from pmix_server.job import JobSpec, NodeRanks
from pmix_server.mesh import LocalMesh
from pmix_server.status import Status
from pmix_server.values import RANK_WILDCARD, Proc
from tests.pmix_server.simulated_mesh import Network

NSPACE = "inner-7f"
T = TypeVar("T")


def job(nodes: int, ranks_per_node: int = 2) -> JobSpec:
    """Ranks dealt to the nodes in blocks."""
    layout = tuple(
        NodeRanks(f"n{index}", tuple(range(index * ranks_per_node, (index + 1) * ranks_per_node)))
        for index in range(nodes)
    )
    return JobSpec(NSPACE, "1.0", layout, 0, 1000, 1000)


async def modex_of(proc: Proc) -> bytes:
    return f"modex of {proc.rank}".encode()


def everybody(network: Network, fanout: int = 2) -> list[Collectives]:
    made = [Collectives(mesh, modex_of, fanout=fanout) for mesh in network.meshes]
    for collectives in made:
        collectives.register(job(len(network.meshes)))
    return made


def wildcard() -> tuple[Proc, ...]:
    return (Proc(NSPACE, RANK_WILDCARD),)


def ranks_on(nodes: frozenset[int]) -> tuple[Proc, ...]:
    """One rank of each of *nodes*."""
    return tuple(Proc(NSPACE, node * 2) for node in nodes)


def blob(node: int, number: int) -> bytes:
    return b"<%d:%d>" % (node, number)


def start(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    return asyncio.get_running_loop().create_task(work)


class TestFence:
    @settings(deadline=None)
    @given(
        nodes=st.integers(1, 12),
        fanout=st.integers(1, 5),
        seed=st.integers(0, 2**32),
        data=st.data(),
    )
    def test_all_get_all_data_in_node_order_whatever_the_order_of_arrival(
        self, nodes: int, fanout: int, seed: int, data: st.DataObject
    ) -> None:
        groups = st.frozensets(st.integers(0, nodes - 1), min_size=1)
        program = data.draw(st.lists(groups, min_size=1, max_size=6))

        async def node_program(collectives: Collectives, node: int) -> list[tuple[int, bytes]]:
            return [
                (number, await collectives.fence(ranks_on(group), blob(node, number), True))
                for number, group in enumerate(program)
                if node in group
            ]

        async def scenario() -> None:
            network = Network(nodes, random.Random(seed))
            made = everybody(network, fanout)
            tasks = [start(node_program(one, node)) for node, one in enumerate(made)]
            await network.run(tasks)
            for task in tasks:
                for number, result in task.result():
                    wanted = b"".join(blob(node, number) for node in sorted(program[number]))
                    assert result == wanted

        asyncio.run(scenario())

    @settings(deadline=None)
    @given(
        nodes=st.integers(2, 10),
        fanout=st.integers(1, 4),
        seed=st.integers(0, 2**32),
        fences=st.integers(1, 4),
        data=st.data(),
    )
    def test_a_lost_node_ends_the_fence_for_all_others_and_nobody_hangs(
        self, nodes: int, fanout: int, seed: int, fences: int, data: st.DataObject
    ) -> None:
        victim = data.draw(st.integers(0, nodes - 1))
        when = data.draw(st.integers(0, 2 * nodes * fences))

        async def node_program(collectives: Collectives, node: int) -> list[bytes | int]:
            results: list[bytes | int] = []
            for number in range(fences):
                try:
                    done = await collectives.fence(wildcard(), blob(node, number), True)
                except CollectiveError as error:
                    results.append(error.status)
                else:
                    results.append(done)
            return results

        async def scenario() -> None:
            network = Network(nodes, random.Random(seed))
            made = everybody(network, fanout)
            tasks = [start(node_program(one, node)) for node, one in enumerate(made)]
            await asyncio.sleep(0)
            for _ in range(when):
                network.step()
                await asyncio.sleep(0)
            network.switch_off(victim)
            survivors = [task for node, task in enumerate(tasks) if node != victim]
            await network.run(survivors)
            tasks[victim].cancel()
            await asyncio.gather(tasks[victim], return_exceptions=True)
            for task in survivors:
                for number, result in enumerate(task.result()):
                    whole = b"".join(blob(node, number) for node in range(nodes))
                    assert result in (whole, Status.ERR_LOST_CONNECTION)

        asyncio.run(scenario())

    @settings(deadline=None)
    @given(
        nodes=st.integers(2, 9),
        fanout=st.integers(1, 4),
        seed=st.integers(0, 2**32),
        data=st.data(),
    )
    def test_a_time_out_of_one_ends_it_for_all_also_for_who_comes_later(
        self, nodes: int, fanout: int, seed: int, data: st.DataObject
    ) -> None:
        late = data.draw(st.integers(0, nodes - 1))
        impatient = data.draw(st.integers(0, nodes - 1).filter(lambda node: node != late))

        async def call(made: Collectives, node: int) -> bytes:
            timeout = 0.001 if node == impatient else None
            return await made.fence(wildcard(), blob(node, 0), True, timeout)

        async def scenario() -> None:
            network = Network(nodes, random.Random(seed))
            made = everybody(network, fanout)
            tasks = [start(call(one, node)) for node, one in enumerate(made) if node != late]
            await asyncio.sleep(0.002)
            await network.run(tasks)
            await network.drain()
            tasks.append(start(call(made[late], late)))
            await network.run(tasks)
            for task in tasks:
                error = task.exception()
                assert isinstance(error, CollectiveError)
                assert error.status == Status.ERR_TIMEOUT
                assert f"on n{impatient}" in error.message

            again = [start(one.fence(wildcard(), b"x", True)) for one in made]
            await network.run(again)
            assert {task.result() for task in again} == {b"x" * nodes}

        asyncio.run(scenario())

    def test_a_bad_local_part_fails_the_fence_everywhere_with_its_status(self) -> None:
        async def scenario() -> None:
            network = Network(5, random.Random(1))
            made = everybody(network)
            tasks = [
                start(one.fence(wildcard(), b"", True, status=-8 if node == 3 else 0))
                for node, one in enumerate(made)
            ]
            await network.run(tasks)
            errors = [task.exception() for task in tasks]
            assert [getattr(error, "status", None) for error in errors] == [-8] * 5

        asyncio.run(scenario())

    def test_without_collect_it_synchronises_and_carries_nothing(self) -> None:
        async def scenario() -> None:
            network = Network(3, random.Random(1))
            made = everybody(network)
            early = [start(one.fence(wildcard(), b"blob", False)) for one in made[:2]]
            await network.drain()
            assert not any(task.done() for task in early)
            late = start(made[2].fence(wildcard(), b"blob", False))
            await network.run([*early, late])
            assert [task.result() for task in (*early, late)] == [b"", b"", b""]

        asyncio.run(scenario())

    def test_only_the_participating_nodes_are_asked(self) -> None:
        async def scenario() -> None:
            network = Network(8, random.Random(1))
            made = everybody(network)
            procs = ranks_on(frozenset({2, 7}))
            tasks = [start(made[node].fence(procs, b"%d" % node, True)) for node in (2, 7)]
            await network.run(tasks)
            assert {task.result() for task in tasks} == {b"27"}
            assert network.delivered == 2

        asyncio.run(scenario())

    def test_it_spans_namespaces(self) -> None:
        async def scenario() -> None:
            network = Network(3, random.Random(1))
            made = everybody(network)
            spawned = JobSpec("child-1", "1.0", (NodeRanks("n2", (0, 1)),), 0, 1000, 1000)
            for one in made:
                one.register(spawned, mesh_nodes=[2])
            procs = (Proc(NSPACE, 0), Proc("child-1", RANK_WILDCARD))
            tasks = [start(made[node].fence(procs, b"%d" % node, True)) for node in (0, 2)]
            await network.run(tasks)
            assert {task.result() for task in tasks} == {b"02"}

        asyncio.run(scenario())

    def test_a_node_that_is_gone_already_fails_it_at_once(self) -> None:
        async def scenario() -> None:
            network = Network(3, random.Random(1))
            made = everybody(network)
            network.switch_off(1)
            await network.drain()
            with pytest.raises(CollectiveError, match="gone: n1") as caught:
                await made[0].fence(wildcard(), b"", True)
            assert caught.value.status == Status.ERR_LOST_CONNECTION

        asyncio.run(scenario())

    def test_a_flood_of_early_fences_is_refused_beyond_the_limit(self) -> None:
        class Narrow(Fences):
            early_limit = 20

        async def scenario() -> None:
            network = Network(2, random.Random(1))
            slow, quick = (Narrow(mesh) for mesh in network.meshes)
            groups = [digest([Proc(NSPACE, number)]) for number in range(21)]
            flood = [start(quick.fence(group, (0, 1), b"1")) for group in groups]
            await asyncio.sleep(0)
            await network.drain()
            assert [task.done() for task in flood].count(True) == 1
            answers = [start(slow.fence(group, (0, 1), b"0")) for group in groups]
            await network.run([*flood, *answers])
            for tasks in (flood, answers):
                errors = [task.exception() for task in tasks]
                assert errors.count(None) == 20
                statuses = {getattr(error, "status", None) for error in errors if error}
                assert statuses == {Status.ERR_OUT_OF_RESOURCE}

        asyncio.run(scenario())

    @pytest.mark.parametrize(
        ("procs", "status"),
        [
            ((Proc("nobody", RANK_WILDCARD),), Status.ERR_NOT_FOUND),
            ((Proc(NSPACE, 99),), Status.ERR_NOT_FOUND),
            ((Proc(NSPACE, 2),), Status.ERR_BAD_PARAM),
        ],
    )
    def test_it_refuses_processes_that_it_does_not_know_or_host(
        self, procs: tuple[Proc, ...], status: Status
    ) -> None:
        async def scenario() -> None:
            made = everybody(Network(2, random.Random(1)))
            with pytest.raises(CollectiveError) as caught:
                await made[0].fence(procs, b"", True)
            assert caught.value.status == status

        asyncio.run(scenario())

    def test_a_job_of_one_node_needs_no_peer(self) -> None:
        async def scenario() -> None:
            alone = Collectives(LocalMesh("n0"), modex_of)
            alone.register(job(1))
            assert await alone.fence(wildcard(), b"own", True) == b"own"
            assert await alone.direct_modex(Proc(NSPACE, 1)) == b"modex of 1"

        asyncio.run(scenario())


class TestDigest:
    @given(st.lists(st.tuples(st.text(max_size=4), st.integers(0, 4)), max_size=6), st.randoms())
    def test_it_depends_on_the_set_alone(
        self, procs: list[tuple[str, int]], shuffler: random.Random
    ) -> None:
        shuffled = [*procs, *procs[:2]]
        shuffler.shuffle(shuffled)
        assert digest(Proc(*proc) for proc in procs) == digest(Proc(*proc) for proc in shuffled)

    @given(
        st.frozensets(st.tuples(st.text(max_size=3), st.integers(0, 12)), max_size=4),
        st.frozensets(st.tuples(st.text(max_size=3), st.integers(0, 12)), max_size=4),
    )
    def test_different_sets_differ(
        self, one: frozenset[tuple[str, int]], other: frozenset[tuple[str, int]]
    ) -> None:
        same = digest(Proc(*proc) for proc in one) == digest(Proc(*proc) for proc in other)
        assert same == (one == other)


class TestDirectModex:
    def test_the_hosting_node_answers(self) -> None:
        async def scenario() -> None:
            network = Network(3, random.Random(1))
            made = everybody(network)
            asked = start(made[0].direct_modex(Proc(NSPACE, 5)))
            await network.run([asked])
            assert asked.result() == b"modex of 5"

        asyncio.run(scenario())

    def test_it_waits_for_the_commit_and_times_out_there(self) -> None:
        async def never(_: Proc) -> bytes:
            await asyncio.sleep(3600)
            return b""

        async def scenario() -> None:
            network = Network(2, random.Random(1))
            made = [Collectives(mesh, never) for mesh in network.meshes]
            for one in made:
                one.register(job(2))
            asked = start(made[0].direct_modex(Proc(NSPACE, 3), 0.05))
            await asyncio.sleep(0)
            await network.drain()
            with pytest.raises(PmixError) as caught:
                await asked
            assert caught.value.status == Status.ERR_TIMEOUT

        asyncio.run(scenario())

    def test_what_the_hosting_server_answers_reaches_the_client(self) -> None:
        async def refuse(_: Proc) -> bytes:
            raise PmixError("No such key.", status=Status.ERR_NOT_FOUND)

        async def scenario() -> None:
            network = Network(2, random.Random(1))
            made = [Collectives(mesh, refuse) for mesh in network.meshes]
            for one in made:
                one.register(job(2))
            asked = start(made[0].direct_modex(Proc(NSPACE, 3)))
            await network.run([asked])
            error = asked.exception()
            assert isinstance(error, PmixError)
            assert error.status == Status.ERR_NOT_FOUND

        asyncio.run(scenario())

    def test_a_host_that_is_lost_while_it_is_asked_is_an_error_at_once(self) -> None:
        async def scenario() -> None:
            network = Network(2, random.Random(1))
            made = everybody(network)
            asked = start(made[0].direct_modex(Proc(NSPACE, 3)))
            await asyncio.sleep(0)
            network.switch_off(1)
            await network.run([asked])
            error = asked.exception()
            assert isinstance(error, PmixError)
            assert error.status == Status.ERR_LOST_CONNECTION

        asyncio.run(scenario())
