"""Which ranks of `shim run` go to which node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpusets import NodeRequest
from cpusets.dealing import Capacity
from shim.errors import ShimError
from shim.mapper import check_words
from shim.mapping_words import MappingWords
from shim.run.dealing import deal_ranks, read_rankfile
from shim.run.spec import RunSpec, parse_run

NAMES = ("n1", "n2")
NODES = (Capacity(4, 2, 0, 0), Capacity(4, 2, 0, 0))
NO_OVERSUBSCRIPTION = NodeRequest(ranks=(), oversubscribe=False)


def spec(words: str) -> RunSpec:
    return parse_run(words.split())


def test_without_a_number_every_core_gets_a_rank() -> None:
    assert deal_ranks(spec("a.sif x"), NAMES, NODES, NO_OVERSUBSCRIPTION) == ((0, 1), (2, 3))
    assert deal_ranks(spec("--ppn 1 a.sif x"), NAMES, NODES, NO_OVERSUBSCRIPTION) == ((0,), (1,))


def test_more_threads_than_cpus_are_refused_unless_asked_for() -> None:
    wide = replace(NO_OVERSUBSCRIPTION, threads=4)
    with pytest.raises(ShimError, match=r"3 ranks do not fit: n1 \(1\), n2 \(1\) can take 2"):
        deal_ranks(spec("-n 3 a.sif x"), NAMES, NODES, wide)
    asked = replace(wide, oversubscribe=True)
    assert deal_ranks(spec("-n 3 a.sif x"), NAMES, NODES, asked) == ((0, 1), (2,))


def test_a_list_of_cpus_describes_one_node() -> None:
    listed = spec("-n 2 --cpu-bind list:0;1 a.sif x")
    assert deal_ranks(listed, NAMES[:1], NODES[:1], NO_OVERSUBSCRIPTION) == ((0, 1),)
    with pytest.raises(ShimError, match="one node"):
        deal_ranks(listed, NAMES, NODES, NO_OVERSUBSCRIPTION)


def test_a_rank_file_says_the_node_of_each_rank() -> None:
    text = "rank 0=n2 slot=0\nrank 1=+n0 cpus=1\n"
    by_node = read_rankfile(replace(spec("a.sif x"), rankfile=text), NAMES)
    assert [[line.rank for line in lines] for lines in by_node] == [[1], [0]]


@pytest.mark.parametrize(
    ("words", "text", "sentence"),
    [
        ("-n 2 a.sif x", "rank 0=n1 slot=0", "has 1 ranks and -n says 2"),
        ("a.sif x", "rank 0=n3 slot=0", "which the job has not"),
        ("a.sif x", "rank 1=n1 slot=0", "but not rank 0"),
    ],
)
def test_a_rank_file_that_does_not_fit_is_refused(words: str, text: str, sentence: str) -> None:
    with pytest.raises(ShimError, match=sentence):
        read_rankfile(replace(spec(words), rankfile=text), NAMES)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (MappingWords(map_by="nonsense"), "no way to map ranks"),
        (MappingWords(mem_bind="everywhere"), "no memory policy"),
        (MappingWords(gpus_per_rank="2/3"), "GPUs per rank is impossible"),
        (MappingWords(bind_to="none", cpus_per_rank=2), "contradicts"),
    ],
)
def test_what_no_node_can_do_is_refused_before_any_agent_starts(
    words: MappingWords, sentence: str
) -> None:
    with pytest.raises(ShimError, match=sentence):
        check_words(words)
    check_words(MappingWords(map_by="l3:pe=2", gpus_per_rank="1/2", cpu_bind="list:0;1"))
