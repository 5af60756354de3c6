"""State is the fold of the acts and of nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.ledger.state import State, fold
from sekisho.model.events import (
    Act,
    CustomerAdded,
    CustomerRemoved,
    ExceptionAdded,
    ExceptionRemoved,
    FeedAccepted,
    OptOutAdded,
    OptOutRemoved,
    RecordedAct,
)


def record(*acts: Act) -> State:
    return fold(RecordedAct(number, 100.0 * number, "uid:0(root)", act) for number, act in enumerate(acts, 1))


def test_an_opt_out_knows_since_when_and_by_whom():
    state = record(OptOutAdded("c-1", "c2", "phone", 1000.0))
    found = state.opt_out("c-1", "c2")
    assert found is not None
    assert (found.since, found.by, found.until) == (100.0, "phone", 1000.0)


def test_an_opt_out_ends_at_its_time_and_not_before():
    state = record(OptOutAdded("c-1", "c2", "phone", 1000.0))
    assert state.opted_out("c-1", 999.9) == {"c2"}
    assert state.opted_out("c-1", 1000.0) == frozenset()


def test_opting_back_in_ends_an_opt_out():
    state = record(OptOutAdded("c-1", "c2", "phone"), OptOutRemoved("c-1", "c2", "phone"))
    assert state.opted_out("c-1", 0.0) == frozenset()
    assert state.opt_outs == {}


def test_the_last_word_on_a_list_counts():
    state = record(OptOutAdded("c-1", "c2", "phone", 500.0), OptOutAdded("c-1", "c2", "web"))
    assert state.opted_out("c-1", 10_000.0) == {"c2"}


def test_a_customer_who_comes_back_is_still_opted_out():
    state = record(OptOutAdded("c-1", "c2", "phone"), CustomerRemoved("c-1"), CustomerAdded("c-1", {"id": "c-1"}))
    assert state.customers == {"c-1": {"id": "c-1"}}
    assert state.opted_out("c-1", 10_000.0) == {"c2"}


def test_a_removed_customer_is_remembered_as_removed():
    assert record(CustomerRemoved("c-1")).customers == {"c-1": None}


def test_exceptions_are_by_list_and_entry():
    first, second = ExceptionAdded("c2", "aa", 2, 1), ExceptionAdded("own", "aa", 2, 3)
    state = record(first, second, ExceptionRemoved("c2", "aa"))
    assert state.exceptions == {"own": {"aa": second}}


def test_accepted_versions_are_kept():
    assert record(FeedAccepted("c2", "v1"), FeedAccepted("c2", "v2")).accepted == {"c2": {"v1", "v2"}}


NAMES = st.sampled_from(["a", "b"])
ACTS = st.one_of(
    st.builds(OptOutAdded, NAMES, NAMES, NAMES, st.none() | st.floats(0, 1e4)),
    st.builds(OptOutRemoved, NAMES, NAMES, NAMES),
    st.builds(CustomerRemoved, NAMES),
    st.builds(ExceptionAdded, NAMES, NAMES, st.just(2), st.just(1)),
    st.builds(ExceptionRemoved, NAMES, NAMES),
)


@given(st.lists(ACTS, max_size=30))
def test_an_opt_out_holds_exactly_if_the_last_act_on_it_added_it(acts):
    state = record(*acts)
    for customer in "ab":
        for list_id in "ab":
            about = [a for a in acts if isinstance(a, OptOutAdded | OptOutRemoved) and (a.customer, a.list) == (customer, list_id)]
            assert (state.opt_out(customer, list_id) is not None) == bool(about and isinstance(about[-1], OptOutAdded))
