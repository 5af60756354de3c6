"""Whatever is found in the kernel, the steps lead to what is wanted, in an order it takes, and lose no packet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.enforce.difference import Known, both, difference
from sekisho.enforce.state import DRAIN, State
from sekisho.enforce.wanted import Line, Where, contested, line_of, state_of
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.measures import Enforcement

WHERE = Where(("cust0",), "sekisho-up")

fours = st.builds(
    lambda host, bits: Prefix((V4_MAPPED | 0xC0000200 | host) >> bits << bits, 128 - bits), st.integers(0, 255), st.integers(0, 3)
)
sixes = st.builds(
    lambda net, bits: Prefix(((0x20010DB8 << 96) | (net << 64)) >> bits << bits, 128 - bits), st.integers(0, 255), st.sampled_from([64, 72])
)
prefixes = st.lists(st.one_of(fours, sixes), max_size=3)
whats = st.builds(
    Enforcement,
    silenced=st.booleans(),
    rate=st.none() | st.tuples(st.integers(1, 10**10), st.integers(1, 10**10)),
    mail=st.none() | st.integers(0, 100),
)


@st.composite
def populations(draw: st.DrawFn) -> list[Line]:
    number = iter(draw(st.permutations(range(1, 9))))
    return [
        line_of(one, what, next(number), counted=draw(st.booleans()))
        for one, what in draw(st.lists(st.tuples(prefixes, whats), max_size=5))
    ]


def state(lines: list[Line]) -> State:
    return state_of(lines, WHERE, contested(lines))


def settled(known: Known, wanted: State) -> bool:
    return (known.entries, known.limits, known.classes) == (wanted.entries, wanted.limits, wanted.classes)


@given(populations(), populations(), st.data())
def test_the_steps_lead_from_what_is_found_to_what_is_wanted(before, after, data):
    found, wanted = state(before), state(after)
    busy = frozenset(data.draw(st.sets(st.sampled_from(sorted(found.classes))))) if found.classes else frozenset()
    known = Known.of(found)
    for look in range(3):
        read = State(known.entries, known.limits, known.classes, busy if look == 0 else frozenset())
        change = difference(read, wanted)
        # A class goes only when nothing is led to it any more and nothing waits in it.
        assert all(one not in read.busy and read.classes[one] == DRAIN and one not in wanted.classes for one in change.drop_classes)
        fresh = Known.of(read)
        fresh.take(change)
        known = fresh
    assert settled(known, wanted)
    assert not difference(known.state, wanted).size


@given(populations())
def test_what_is_as_it_is_wanted_is_left_alone(lines):
    assert not difference(state(lines), state(lines)).size


@given(populations(), populations())
def test_a_part_that_changes_leads_to_the_same_as_looking_at_all(before, after):
    known = Known.of(state(before))
    wanted = state(after)
    change = difference(known.part(both(state(before), wanted)), wanted, read=False)
    known.take(change)
    # What is only remembered keeps its empty tables.
    assert {table: keys for table, keys in known.entries.items() if keys} == {table: keys for table, keys in wanted.entries.items() if keys}
    assert wanted.tables <= known.tables
    assert known.limits == wanted.limits
    assert {one: rate for one, rate in known.classes.items() if rate != DRAIN} == {
        one: rate for one, rate in wanted.classes.items() if rate != DRAIN
    }
