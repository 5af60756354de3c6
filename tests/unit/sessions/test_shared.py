"""Addresses that customers share by ports: nobody's as a whole, whoever has a prefix around them."""

from __future__ import annotations

from sekisho.model.customers import Prefix
from sekisho.model.sessions import Accounting, AccountingKind, Ports, Session, SessionEnd, Share
from sekisho.sessions.changes import Changes, Held, Opened, Released, Told
from sekisho.sessions.columns import code_of, without
from sekisho.sessions.holding import Claim, holder_at
from sekisho.sessions.stretches import NOBODY, UNCERTAIN, Stretches
from sekisho.sessions.table import Table

T = 1_775_000_000.0
POOL = Prefix.parse("203.0.113.4")


def tell(table: Table, kind: AccountingKind, session: str, first: int) -> Changes:
    changes = Changes()
    share = Share(POOL, Ports(first, first + 999))
    table.apply(Accounting(kind, "cgn", T, session, session, (), (share,), seconds=0), session, changes)
    return changes


def test_an_address_begins_to_be_shared_with_the_first_and_ends_with_the_last() -> None:
    table = Table()
    assert tell(table, AccountingKind.START, "c-1", 1000).shared == {code_of(POOL)}
    assert not tell(table, AccountingKind.START, "c-2", 2000).shared
    assert (table.is_shared(code_of(POOL)), table.shared_in(Prefix.parse("203.0.113.0/29"))) == (True, [POOL])
    assert table.shared_in(Prefix.parse("203.0.113.5")) == table.shared_in(Prefix.parse("203.0.113.0/30")) == []
    assert not tell(table, AccountingKind.STOP, "c-1", 1000).shared
    assert tell(table, AccountingKind.STOP, "c-2", 2000).shared == {code_of(POOL)}
    assert not table.is_shared(code_of(POOL))


def test_what_is_left_of_a_prefix_without_some_addresses_is_all_the_others() -> None:
    around = Prefix.parse("203.0.113.0/29")
    left = without(around, [POOL, Prefix.parse("203.0.113.7")])
    assert left == [Prefix.parse(text) for text in ("203.0.113.0/30", "203.0.113.5", "203.0.113.6")]
    assert without(around, []) == [around]
    assert without(POOL, [POOL]) == []


def test_a_port_of_nobody_is_not_taken_for_whoever_has_a_prefix_around_the_address() -> None:
    session = Session("cgn", "s", "u", "c-1", T, T, (), (), 0, 0, None, None)
    found = holder_at([Claim(session, POOL, Ports(1000, 1999), T, None, 1)], T + 5, 3000)
    assert (found.claim, found.ambiguous, found.shared) == (None, False, True)
    over = Session("cgn", "s", "u", "c-1", T, T, (), (), 0, 0, T + 1, SessionEnd.TIMEOUT)
    assert not holder_at([Claim(over, POOL, None, T, T + 9, 1)], T + 5, 3000).shared


class Cgn:
    """A CGN that tells of blocks of ports of one address."""

    def __init__(self) -> None:
        self.table, self.facts, self.at = Table(), [], T

    def tell(
        self, customer: str, *firsts: int, kind: AccountingKind = AccountingKind.INTERIM, gone: tuple[int, ...] = (), adds: bool = False
    ) -> None:
        changes, inside = Changes(), Prefix.parse(f"100.64.0.{customer[-1]}")
        self.at += 60
        shares, given = (tuple(Share(POOL, Ports(first, first + 999)) for first in some) for some in (firsts, gone))
        told = Accounting(kind, "cgn", self.at, customer, customer, (inside,), shares, seconds=int(self.at - T), gone=given, adds=adds)
        self.table.apply(told, customer, changes)
        self.facts += changes.facts

    def blocks(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for _, ports, customer in self.table.parts():
            found.setdefault(customer or "", []).append(ports.first)
        return {customer: sorted(firsts) for customer, firsts in found.items()}


def test_several_blocks_of_one_address_are_held_and_let_go_each_by_itself() -> None:
    cgn = Cgn()
    cgn.tell("c-1", 1000, 5000, kind=AccountingKind.START)
    assert cgn.blocks() == {"c-1": [1000, 5000]}
    cgn.tell("c-1", 5000)
    assert cgn.blocks() == {"c-1": [5000]}
    released = [fact for fact in cgn.facts if isinstance(fact, Released)]
    assert [(fact.first, fact.until) for fact in released] == [(1000, cgn.at)], "on disk too the other is held"
    cgn.tell("c-1", kind=AccountingKind.STOP)
    assert (cgn.blocks(), cgn.table.shared()) == ({}, [])


def test_what_is_allocated_and_given_back_as_events_is_added_and_taken_away() -> None:
    cgn = Cgn()
    cgn.tell("c-1", 1000, kind=AccountingKind.START, adds=True)
    cgn.tell("c-1", 5000, adds=True)
    cgn.tell("c-1", 5000, adds=True)
    assert cgn.blocks() == {"c-1": [1000, 5000]}
    cgn.tell("c-1", 1500, adds=True)
    assert cgn.blocks() == {"c-1": [1500, 5000]}, "what overlaps is told anew"
    cgn.tell("c-1", 1000, adds=True)
    cgn.tell("c-1", gone=(1000,))
    cgn.tell("c-1", gone=(1000,))
    assert cgn.blocks() == {"c-1": [5000]}
    cgn.tell("c-2", 1000, kind=AccountingKind.START, adds=True)
    assert cgn.blocks() == {"c-1": [5000], "c-2": [1000]}
    assert len(cgn.table) == 2


def test_a_block_that_is_anothers_now_costs_the_session_no_more_than_the_block() -> None:
    cgn = Cgn()
    cgn.tell("c-1", 1000, 5000, kind=AccountingKind.START)
    heard = cgn.at
    cgn.tell("c-2", 1000, kind=AccountingKind.START)
    assert cgn.blocks() == {"c-1": [5000], "c-2": [1000]}
    (released,) = [fact for fact in cgn.facts if isinstance(fact, Released)]
    assert (released.first, released.until) == (1000, heard), "that it was theirs is known until they were last heard of"
    assert [one.customer for one in cgn.table.each()] == ["c-2", "c-1"]


def test_blocks_that_are_given_back_and_taken_at_once_are_the_same_however_often_it_is_told() -> None:
    def blocks(*firsts: int) -> tuple[Share, ...]:
        return tuple(Share(POOL, Ports(first, first + 50)) for first in firsts)

    once, twice = Table(), Table()
    told = Accounting(AccountingKind.START, "cgn", T, "s", "c-1", (), blocks(100, 1), seconds=0, gone=blocks(100), adds=True)
    for table, times in ((once, 1), (twice, 2)):
        for _ in range(times):
            table.apply(told, "c-1", Changes())
    assert [one.shares for one in once.each()] == [one.shares for one in twice.each()] == [blocks(1, 100)]


DAY = 86400.0


def aged(cgn: Cgn, at: float) -> list[tuple[int, bool]]:
    """What is let go of at a time by its age, after a day: the first port, and whether that is said."""
    changes = Changes()
    cgn.table.age(cgn.table.aged(at, [DAY], T), at, changes)
    return [(fact.first, fact.aged) for fact in changes.facts if isinstance(fact, Released)]


def test_a_block_that_is_never_given_back_ends_by_its_age_and_the_session_goes_on() -> None:
    cgn = Cgn()
    cgn.tell("c-1", 1000, kind=AccountingKind.START, adds=True)
    cgn.tell("c-1", 5000, adds=True)
    assert aged(cgn, cgn.at - 60 + DAY) == [], "a day and no longer"
    assert aged(cgn, cgn.at - 59 + DAY) == [(1000, True)]
    assert (cgn.blocks(), len(cgn.table)) == ({"c-1": [5000]}, 1)
    assert aged(cgn, cgn.at + 2 * DAY) == [(5000, True)]
    assert (cgn.blocks(), cgn.table.shared(), len(cgn.table)) == ({}, [], 1)
    assert cgn.table.prefixes_of("c-1") == (code_of(Prefix.parse("100.64.0.1")),)
    cgn.tell("c-1", 1000, adds=True)
    assert cgn.blocks() == {"c-1": [1000]}, "and is allocated again"


def test_a_block_that_is_told_of_again_is_as_old_as_that() -> None:
    cgn = Cgn()
    cgn.tell("c-1", 1000, kind=AccountingKind.START, adds=True)
    cgn.at += DAY - 100
    cgn.tell("c-1", 1000, adds=True)
    assert [(fact.first, fact.told) for fact in cgn.facts if isinstance(fact, Told)] == [(1000, cgn.at)]
    assert aged(cgn, cgn.at + DAY) == []
    cgn.tell("c-1", 1000)
    assert aged(cgn, cgn.at + DAY) == [], "in a list of what there is, too"
    assert aged(cgn, cgn.at + DAY + 1) == [(1000, True)]


def test_what_is_told_as_what_there_is_has_no_age_nor_has_what_was_given_back() -> None:
    cgn = Cgn()
    cgn.tell("c-1", 1000, kind=AccountingKind.START)
    cgn.tell("c-2", 5000, kind=AccountingKind.START, adds=True)
    cgn.tell("c-2", gone=(5000,))
    cgn.tell("c-3", 7000, kind=AccountingKind.START, adds=True)
    cgn.tell("c-3", kind=AccountingKind.STOP)
    assert aged(cgn, cgn.at + 9 * DAY) == []
    assert not len(cgn.table._allocated)


def test_a_block_is_no_older_than_there_was_somebody_to_hear_of_it_and_keeps_its_age_over_a_restart() -> None:
    table = Table()
    session = Opened(1, "cgn", "s", "c-1", "c-1", T, T, 0, 0, 0, wide=False)
    table.restore(session, [Held(1, code_of(POOL), Ports(1000, 1999), T, T), Held(1, code_of(POOL), Ports(5000, 5999), T)])
    assert table.aged(T + DAY + 1, [DAY], T + 500) == []
    assert table.aged(T + DAY + 501, [float("inf")], T + 500) == []
    ((row, number, share),) = table.aged(T + DAY + 501, [DAY], T + 500)
    assert (number, share) == (1, Share(POOL, Ports(1000, 1999)))
    gone = Changes()
    table.apply(Accounting(AccountingKind.STOP, "cgn", T + 600, "s", "c-1"), "c-1", gone)
    assert table.age([(row, number, share)], T + DAY, Changes()) == 0, "the session was over first"
    assert not any(fact.aged for fact in gone.facts if isinstance(fact, Released))


def test_blocks_of_a_restart_end_by_their_age_whatever_order_they_were_read_in() -> None:
    table = Table()
    for number, told in ((1, T + 1000), (2, T), (3, T + 500)):
        session = Opened(number, "cgn", f"s-{number}", "c-1", "c-1", T, T, 0, 0, 0, wide=False)
        table.restore(session, [Held(number, code_of(POOL), Ports(1000 * number, 1000 * number + 999), T, told)])
    table.restored()
    assert [number for _, number, _ in table.aged(T + DAY + 501, [DAY], 0.0)] == [2, 3]
    assert [number for _, number, _ in table.aged(T + DAY + 1001, [DAY], 0.0)] == [2, 3, 1]


def test_who_had_a_block_that_ended_by_age_is_certain_until_it_was_told_of_last() -> None:
    session = Session("cgn", "s", "u", "c-1", T, T + 9 * DAY)
    block = Claim(session, POOL, Ports(1000, 1999), T, T + DAY, 1, told=T + 600, aged=True)
    assert holder_at([block], T + 600, 1500).claim == block
    for at in (T + 601, T + DAY - 1, T + DAY, T + 5 * DAY):
        found = holder_at([block], at, 1500)
        assert (found.claim, found.ambiguous) == (None, True)
        assert "ended by their age" in found.why
    assert holder_at([block], T + 5 * DAY, 3000) == holder_at([], T + 5 * DAY, 3000), "another port"
    whole = Claim(Session("cgn", "t", "v", "c-2", T, T), POOL, None, T + DAY, None, 2)
    assert holder_at([block, whole], T + 5 * DAY, None).claim == whole
    later = Claim(whole.session, POOL, Ports(1000, 1999), T + DAY, None, 2)
    assert holder_at([block, later], T + 5 * DAY, 1500).claim == later, "who has it now has it for certain"


def test_over_time_it_is_uncertain_whose_a_block_was_from_then_on_until_another_had_it_or_the_session_was_over() -> None:
    session = Session("cgn", "s", "u", "c-1", T, T + DAY, until=T + 5 * DAY, end=SessionEnd.STOP)
    block = Claim(session, POOL, Ports(1000, 1999), T, T + 2 * DAY, 1, told=T + 600, aged=True)
    other = Session("cgn", "t", "v", "c-2", T + 3 * DAY, T + 4 * DAY, until=T + 4 * DAY, end=SessionEnd.STOP)
    later = Claim(other, POOL, Ports(1000, 1999), T + 3 * DAY, T + 4 * DAY, 2)
    stretches = Stretches([block, later], lambda customer: 1 if customer == "c-1" else 2)
    found = [stretches.row(T + at, 1500) for at in (60, DAY, 2 * DAY, 3 * DAY, 4 * DAY, 5 * DAY)]
    assert found == [1, UNCERTAIN, UNCERTAIN, 2, UNCERTAIN, NOBODY]
    assert stretches.row(T + 2 * DAY, 3000) == NOBODY, "a port that was in no block"
