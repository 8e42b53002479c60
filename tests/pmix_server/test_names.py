"""Published data: who sees what, for how long, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmix_server import PmixError, Proc, Status
from pmix_server.names import Asker, Entry, NameStore, Persistence, Range
from pmix_server.values import RANK_WILDCARD, Info, string

ASKERS = [Asker(Proc(nspace, rank), node) for nspace in "AB" for rank, node in ((0, 0), (1, 1))]


def entry(
    publisher: Asker,
    key: str = "k",
    within: Range = Range.SESSION,
    persistence: Persistence = Persistence.APP,
    members: tuple[Proc, ...] = (),
) -> Entry:
    return Entry(publisher, string(key, "v"), within, persistence, members)


def seen_by(published: Entry) -> list[Asker]:
    store = NameStore()
    store.publish([published])
    return [asker for asker in ASKERS if store.find(asker, ["k"])]


@pytest.mark.parametrize(
    ("within", "audience"),
    [
        (Range.PROC_LOCAL, [0]),
        (Range.LOCAL, [0, 2]),
        (Range.NAMESPACE, [0, 1]),
        (Range.SESSION, [0, 1, 2, 3]),
        (Range.GLOBAL, [0, 1, 2, 3]),
        (Range.RM, []),
    ],
)
def test_a_range_says_who_sees(within: Range, audience: list[int]) -> None:
    assert seen_by(entry(ASKERS[0], within=within)) == [ASKERS[index] for index in audience]


def test_a_custom_range_is_a_list_of_processes() -> None:
    members = (Proc("A", 1), Proc("B", RANK_WILDCARD))
    published = entry(ASKERS[0], within=Range.CUSTOM, members=members)
    assert seen_by(published) == ASKERS[1:]


def test_the_narrowest_range_is_what_a_lookup_finds() -> None:
    store = NameStore()
    wide, near = entry(ASKERS[0]), entry(ASKERS[1], within=Range.LOCAL)
    store.publish([wide, near])
    assert store.find(ASKERS[3], ["k"]) == [near]
    assert store.find(ASKERS[2], ["k"]) == [wide]


def test_a_lookups_range_is_taken_first_and_hides_nothing() -> None:
    store = NameStore()
    wide, near = entry(ASKERS[0]), entry(ASKERS[1], within=Range.LOCAL)
    store.publish([wide, near])
    assert store.find(ASKERS[3], ["k"], Range.GLOBAL) == [wide]
    assert store.find(ASKERS[3], ["k"], Range.NAMESPACE) == [near]


def test_an_unpublish_goes_for_the_range_it_names() -> None:
    store = NameStore()
    wide, near = entry(ASKERS[0]), entry(ASKERS[0], within=Range.LOCAL)
    store.publish([wide, near, entry(ASKERS[0], "l")])
    store.unpublish(ASKERS[0].proc, ["k", "l"], Range.LOCAL)
    assert store.find(ASKERS[0], ["k", "l"]) == [wide]


@given(st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from(Range), st.sampled_from(ASKERS))))
def test_a_key_is_unique_in_its_range_and_a_refused_publish_leaves_nothing(
    published: list[tuple[str, Range, Asker]],
) -> None:
    store = NameStore()
    places = set()
    for key, within, publisher in published:
        new = entry(publisher, key, within)
        other = entry(publisher, "other", Range.GLOBAL)
        if new.place in places:
            with pytest.raises(PmixError) as refused:
                store.publish([other, new])
            assert refused.value.status == Status.ERR_DUPLICATE_KEY
        else:
            store.publish([new])
            places.add(new.place)
        assert len(store) == len(places)
    assert store.find(ASKERS[0], ["other"]) == []


def test_what_is_read_first_is_read_once() -> None:
    store = NameStore()
    store.publish([entry(ASKERS[0], persistence=Persistence.FIRST_READ), entry(ASKERS[0], "l")])
    store.read(store.find(ASKERS[1], ["k", "l"]))
    assert [found.info.key for found in store.find(ASKERS[1], ["k", "l"])] == ["l"]


def test_the_end_of_a_process_and_of_a_job_removes_what_was_to_stay_as_long() -> None:
    store = NameStore()
    store.publish([entry(ASKERS[0], level.name, persistence=level) for level in Persistence])
    store.process_ended(ASKERS[0].proc)
    assert store.find(ASKERS[1], ["PROC"]) == []
    store.job_ended("A")
    left = {
        found.info.key for found in store.find(ASKERS[1], [level.name for level in Persistence])
    }
    assert left == {"INDEFINITE", "FIRST_READ", "SESSION"}


def test_only_the_publisher_removes_its_data() -> None:
    store = NameStore()
    store.publish([entry(ASKERS[0]), entry(ASKERS[0], "l")])
    with pytest.raises(PmixError) as refused:
        store.unpublish(ASKERS[1].proc, ["k"])
    assert refused.value.status == Status.ERR_NOT_FOUND
    store.unpublish(ASKERS[0].proc, ["k"])
    assert len(store) == 1
    store.unpublish(ASKERS[0].proc, None)
    assert len(store) == 0
    store.unpublish(ASKERS[0].proc, None)


def test_an_entry_keeps_its_typed_value() -> None:
    published = Entry(ASKERS[0], Info("k", 11, 7))
    store = NameStore()
    store.publish([published])
    assert store.find(ASKERS[0], ["k"])[0].info == ("k", 11, 7)
