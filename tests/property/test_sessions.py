"""Whatever accounting comes in, in whatever order: each address has one holder, and the facts say what the table says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.sessions import Accounting, AccountingKind, Ports, SessionEnd, Share
from sekisho.sessions.changes import Changes, Heard, Held, Named, Opened, Over, Released, Revived, Told
from sekisho.sessions.columns import code_of
from sekisho.sessions.table import Table

POOL = [Prefix.parse(f"192.0.2.{number}") for number in range(3)] + [Prefix.parse("2001:db8:1::/56")]
SHARED = Prefix.parse("203.0.113.1")
KINDS = [AccountingKind.START, AccountingKind.INTERIM, AccountingKind.STOP, AccountingKind.NAS_ON]
PEOPLE = {"a": "c-a", "b": "c-b", "x": None, "": None}

requests = st.builds(
    lambda kind, nas, at, session, user, prefixes, firsts, given, adds, octets: Accounting(
        kind,
        nas,
        1000.0 + at,
        session,
        user,
        tuple(dict.fromkeys(prefixes)),
        tuple(Share(SHARED, Ports(first, first + 50)) for first in firsts),
        octets,
        octets,
        False,
        at,
        tuple(Share(SHARED, Ports(first, first + 50)) for first in given),
        adds,
    ),
    st.sampled_from(KINDS),
    st.sampled_from(["n1", "n2"]),
    st.integers(0, 60),
    st.sampled_from(["s1", "s2", "s3"]),
    st.sampled_from(list(PEOPLE)),
    st.lists(st.sampled_from(POOL), max_size=2),
    st.sampled_from([(), (1,), (40,), (100,), (1, 100), (200, 100)]),
    st.sampled_from([(), (), (1,), (100, 200)]),
    st.booleans(),
    st.integers(0, 1000),
)


class Disk:
    """The facts, folded as the record folds them."""

    def __init__(self):
        self.sessions = {}
        self.held = {}
        self.names = {}
        self.users = {}

    def enter(self, fact):
        match fact:
            case Opened():
                assert fact.number not in self.sessions, "a number is given once"
                self.sessions[fact.number] = True
                self.names[fact.number] = fact.customer
                self.users[fact.number] = fact.user
            case Held():
                assert self.sessions[fact.number] is not None
                self.held[fact.number, fact.code, fact.ports.first] = fact.ports
            case Told():
                assert (fact.number, fact.code, fact.first) in self.held
            case Released():
                self.held.pop((fact.number, fact.code, fact.first), None)
            case Over():
                self.sessions[fact.number] = False
            case Revived():
                assert not self.sessions[fact.number]
                self.sessions[fact.number] = True
            case Named():
                self.names[fact.number] = fact.customer
                if fact.user is not None:
                    assert not self.users[fact.number], "a session has one user"
                    self.users[fact.number] = fact.user
            case Heard():
                assert fact.number in self.sessions
                assert fact.down >= 0


@settings(max_examples=150, deadline=None)
@given(st.lists(requests, max_size=40))
def test_the_facts_say_what_the_table_says(told):
    table, disk, plane, parted, ending = Table(), Disk(), {}, {}, []
    for one in told:
        changes = Changes()
        # Those that a restart ends come to their turn after what is told next.
        before, ending = ending, []
        if one.kind is AccountingKind.NAS_ON:
            ending = table.restarted(one)
        else:
            table.apply(one, PEOPLE[one.user], changes)
        table.end(before, one.at, SessionEnd.NAS_RESTART, changes)
        for fact in changes.facts:
            disk.enter(fact)
        plane.update(changes.moves)
        for part in changes.parts:
            if part.given:
                parted.pop((part.code, part.ports), None)
            else:
                parted[part.code, part.ports] = part.customer
        assert parted == {((V4_MAPPED | at) << 8 | 128, ports): customer for at, ports, customer in table.parts()}
        assert all(share in table._columns.shares[row] for row, share in table._allocated.blocks())
        assert all(down >= 0 and up >= 0 for _, down, up, _ in changes.usage)
        live = list(table.each())
        assert len(live) == len(table) == sum(disk.sessions.values())
        going = [number for number, goes_on in disk.sessions.items() if goes_on]
        assert sorted((one.user, one.customer or "") for one in live) == sorted((disk.users[one], disk.names[one] or "") for one in going)
        assert all(one.customer == PEOPLE[one.user] for one in live)
        whole = {code: number for (number, code, _), ports in disk.held.items() if ports == Ports(0, 65535)}
        assert len(whole) == sum(1 for ports in disk.held.values() if ports == Ports(0, 65535)), "one holder each"
        assert sorted(whole) == sorted(code_of(prefix) for session in live for prefix in session.prefixes)
        for code, number in whole.items():
            assert disk.sessions[number], "who is over holds nothing"
            assert table.holder(code) == disk.names[number] == plane[code]
        for code, customer in plane.items():
            if code not in whole:
                assert customer is None, "what is let go is nobody's"
        held = sorted((code, ports.first, ports.last) for (_, code, _), ports in disk.held.items() if ports != Ports(0, 65535))
        assert held == sorted((code_of(one.prefix), one.ports.first, one.ports.last) for session in live for one in session.shares)
        assert held == sorted((V4_MAPPED << 8 | at << 8 | 128, ports.first, ports.last) for at, ports, _ in table.parts())
        parts = [(session.id, share.ports) for session in live for share in session.shares]
        assert not any(one.overlaps(other) for at, (_, one) in enumerate(parts) for _, other in parts[at + 1 :])


@settings(max_examples=100, deadline=None)
@given(st.lists(requests.filter(lambda one: one.kind is not AccountingKind.NAS_ON), max_size=15))
def test_what_is_told_twice_counts_once(told):
    once, twice = Table(), Table()
    for one in told:
        first, second, again = Changes(), Changes(), Changes()
        once.apply(one, PEOPLE[one.user], first)
        twice.apply(one, PEOPLE[one.user], second)
        twice.apply(one, PEOPLE[one.user], again)
        assert not again.moves
        assert not again.usage
    assert sorted(map(repr, once.each())) == sorted(map(repr, twice.each()))
