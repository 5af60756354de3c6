"""What is not as it is known to be, while somebody of ours writes to it."""

from __future__ import annotations

from sekisho.enforce.difference import Change, Known, difference
from sekisho.enforce.drift import Places, drift, known_at, mended
from sekisho.enforce.state import DRAIN, Class, Role, State, Table

SILENCE, DOWN = Table(Role.SILENCE, False, 32), Table(Role.DOWN, False, 32)
A, B, C = (bytes((192, 0, 2, last)) for last in (1, 2, 3))
SLOW, GHOST = Class("cust0", 1), Class("cust0", 9)


def known():
    return Known({SILENCE: {A: "", B: ""}, DOWN: {A: "5ec1:1"}}, {"m1_5": 5}, {SLOW: 1000})


def test_what_is_as_it_is_known_is_no_drift():
    assert drift(known().state, known()).size == 0


def test_what_is_missing_what_is_too_much_and_what_is_another_are_found():
    found = State({SILENCE: {A: "", C: ""}, DOWN: {A: "5ec1:2"}}, {"m2_5": 5}, {SLOW: 7, GHOST: 1})
    places = drift(found, known())
    assert places.entries == {SILENCE: {B, C}, DOWN: {A}}
    assert places.limits == {"m1_5", "m2_5"}
    assert places.classes == {SLOW, GHOST}


def test_what_was_written_meanwhile_is_left_out_and_the_rest_is_not():
    touched = Places()
    touched.add(Change(put_entries={SILENCE: {C: ""}}, drop_entries={SILENCE: [B]}, put_classes={GHOST: 1}, drop_limits=("m2_5",)))
    found = State({SILENCE: {B: ""}, DOWN: {A: "5ec1:2"}}, {"m1_5": 5, "m2_5": 5}, {SLOW: 1000, GHOST: 1})
    left = drift(found, known()).less(touched)
    assert left.entries == {SILENCE: {A}, DOWN: {A}}
    assert not left.limits
    assert not left.classes


def test_mending_leads_to_what_is_known_and_a_ghosts_class_is_let_run_empty():
    one = known()
    places = Places({SILENCE: {A, C}}, set(), {SLOW, GHOST})
    there = State({SILENCE: {C: ""}}, {}, {GHOST: 77})
    change = difference(there, known_at(one, places), read=False)
    assert change.drop_entries == {SILENCE: [C]}
    assert change.put_entries == {SILENCE: {A: ""}}
    assert change.put_classes == {SLOW: 1000, GHOST: DRAIN}
    assert not change.put_tables
    mended(one, change, there)
    assert one.classes == {SLOW: 1000, GHOST: DRAIN}
    assert one.entries == known().entries


def test_a_table_that_is_not_known_is_not_mended_place_by_place():
    assert known_at(known(), Places({Table(Role.UP, False, 32): {A}})).entries == {}


def test_a_ghost_as_fast_as_what_is_on_its_way_out_is_on_its_way_out():
    one = known()
    there = State(classes={GHOST: DRAIN})
    change = difference(there, known_at(one, Places(classes={GHOST})), read=False)
    assert not change.size
    mended(one, change, there)
    assert one.classes[GHOST] == DRAIN
