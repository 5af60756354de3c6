"""Addresses that customers share by ports: nobody's as a whole, whoever has a prefix around them."""

from __future__ import annotations

from sekisho.model.customers import Prefix
from sekisho.model.sessions import Accounting, AccountingKind, Ports, Session, SessionEnd, Share
from sekisho.sessions.changes import Changes
from sekisho.sessions.columns import code_of, without
from sekisho.sessions.holding import Claim, holder_at
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
