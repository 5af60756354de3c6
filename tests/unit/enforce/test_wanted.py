"""What measures want of the kernel."""

from __future__ import annotations

import pytest

from sekisho.enforce.state import PARTS, Class, Role, State, Table, on_wire, place_of
from sekisho.enforce.wanted import Where, contested, line_of, numbers_found, outermost, state_of
from sekisho.model.customers import Prefix
from sekisho.model.measures import NONE, Enforcement

WHERE = Where(("cust0", "cust1"), "sekisho-up")
FOUR, SIX = Prefix.parse("192.0.2.8/29"), Prefix.parse("2001:db8:0:100::/56")
SLOW = Enforcement(rate=(10_000_000, 5_000_000))


def roles(state):
    return {role for role, _, _ in state.each()}


def words(state):
    return {word for _, _, word in state.each()}


def prefixes(state):
    return {prefix for _, prefix, _ in state.each()}


def test_a_slowed_line_has_one_class_for_all_its_addresses_in_each_direction():
    state = state_of([line_of([FOUR, SIX], SLOW, 7)], WHERE)
    assert words(state) == {"5ec1:7"}
    assert {(role, prefix) for role, prefix, _ in state.each()} == {(role, one) for role in (Role.DOWN, Role.UP) for one in (FOUR, SIX)}
    assert state.classes == {
        Class("cust0", 7): on_wire(10_000_000),
        Class("cust1", 7): on_wire(10_000_000),
        Class("sekisho-up", 7): on_wire(5_000_000),
    }


@pytest.mark.parametrize(
    ("prefix", "part"), [("192.0.2.165/32", 5), ("192.0.2.8/29", 1), ("64.0.0.0/2", 1), ("2001:db8:0:a00::/56", 10), ("2001:db8::/32", 8)]
)
def test_whose_queries_are_counted_is_in_the_part_of_the_last_bits_of_the_prefix_and_all_parts_are_there(prefix, part):
    one = Prefix.parse(prefix)
    state = state_of([line_of([one], Enforcement(silenced=True), counted=True)], Where(roles=frozenset({Role.SILENCE, Role.COUNT_QUERIES})))
    six, bits, key = place_of(one)
    assert state.entries[Table(Role.COUNT_QUERIES, six, bits, part)] == {key: ""}
    assert state.tables == {Table(Role.SILENCE, six, bits), *(Table(Role.COUNT_QUERIES, six, bits, other) for other in range(PARTS))}
    assert state.word(Role.COUNT_QUERIES, one) == ""
    assert sorted(state.each()) == [(Role.COUNT_QUERIES, one, ""), (Role.SILENCE, one, "")]


def test_the_rate_on_the_wire_leaves_room_for_headers_and_stays_within_five_percent():
    assert 1.03 < on_wire(8_000_000) / 1_000_000 < 1.05
    full_frame, carried_four, carried_six = 1514, 1448, 1428
    for carried in (carried_four, carried_six):
        assert 0.97 < on_wire(8_000_000) / 1_000_000 * carried / full_frame < 1.0


def test_tables_are_by_role_family_and_length():
    state = state_of([line_of([FOUR, SIX], Enforcement(silenced=True))], WHERE)
    assert {table.name for table in state.tables} == {"silence4_29", "silence6_56"}


@pytest.mark.parametrize(
    ("what", "number", "expected"),
    [
        (Enforcement(silenced=True), 0, {Role.SILENCE}),
        (Enforcement(mail=0), 0, {Role.NO_MAIL}),
        (Enforcement(mail=5), 3, {Role.MAIL}),
        (SLOW, 3, {Role.DOWN, Role.UP}),
        (SLOW, 0, set()),
        (NONE, 0, set()),
        (Enforcement(garden=True, budget=(5, 5)), 0, set()),
    ],
)
def test_what_is_in_force_says_which_tables_an_address_is_in(what, number, expected):
    assert roles(state_of([line_of([FOUR], what, number)], WHERE)) == expected


def test_a_limit_of_mail_is_shared_by_all_addresses_of_the_line():
    state = state_of([line_of([FOUR, SIX], Enforcement(mail=5), 3)], WHERE)
    assert state.limits == {"m3_5": 5}
    assert words(state) == {"m3_5"}


def test_what_is_switched_off_is_not_done():
    where = Where(WHERE.down, WHERE.up, frozenset({Role.COUNT_DOWN, Role.COUNT_QUERIES, Role.COUNT_MAIL}))
    state = state_of([line_of([FOUR], Enforcement(silenced=True, rate=(1, 1), mail=1), 3, counted=True)], where)
    assert roles(state) == where.roles
    assert not state.classes
    assert not state.limits


def test_an_address_that_two_customers_have_is_left_alone():
    lines = [line_of([FOUR, SIX], SLOW, 1), line_of([FOUR], Enforcement(silenced=True))]
    state = state_of(lines, WHERE, contested(lines))
    assert prefixes(state) == {SIX}


def test_a_prefix_within_another_of_the_same_customer_is_one_with_it():
    inner = Prefix.parse("192.0.2.9/32")
    assert outermost([inner, FOUR, SIX, FOUR]) == (FOUR, SIX)
    assert outermost([Prefix.parse("192.0.2.16/32"), FOUR]) == (FOUR, Prefix.parse("192.0.2.16/32"))
    assert outermost([inner, FOUR]) == outermost([FOUR, inner]) == outermost([FOUR, FOUR]) == (FOUR,)
    assert outermost([SIX, FOUR]) == outermost([FOUR, SIX]) == (FOUR, SIX)
    first = Prefix(FOUR.value, 128)
    assert outermost([first, FOUR]) == outermost([FOUR, first]) == (FOUR,)


def test_a_line_without_an_address_needs_nothing():
    state = state_of([line_of([], SLOW, 1)], WHERE)
    assert not state.entries
    assert not state.classes


def test_numbers_that_the_kernel_has_are_kept_and_are_one_customers():
    found = state_of([line_of([FOUR], SLOW, 9), line_of([SIX], Enforcement(mail=4), 12)], WHERE)
    assert numbers_found(found, {"a": [FOUR], "b": [SIX], "c": []}) == {"a": 9, "b": 12}
    assert numbers_found(found, {"a": [FOUR], "b": [FOUR]}) == {"a": 9}


def test_numbers_that_are_not_ours_are_nobodys():
    state = state_of([line_of([FOUR], SLOW, 9)], WHERE)
    strange = State({table: dict.fromkeys(keys, "1:10") for table, keys in state.entries.items()})
    assert numbers_found(strange, {"a": [FOUR]}) == {}
    assert numbers_found(State({Table(Role.MAIL, False, 29): {place_of(FOUR)[2]: "mx_1"}}), {"a": [FOUR]}) == {}
