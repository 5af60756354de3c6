"""The kernel's counters become differences by customer, whatever happens to the tables they stand in."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from sekisho.app import control_linecounts, control_linereadings
from sekisho.app.control_linecounts import LineCounts
from sekisho.app.control_linereadings import Due, LineReadings
from sekisho.config.lines import LineSettings
from sekisho.drivers.tableread import Counted
from sekisho.enforce.state import USAGE, Role, Table, place_of
from sekisho.enforce.wanted import Where
from sekisho.model.customers import Prefix
from sekisho.model.errors import UnavailableError
from sekisho.model.usage import Source

A, B, C = (Prefix.parse(f"192.0.2.{number}") for number in (1, 2, 3))
OWNERS = {A: "c-1", B: "c-1", C: "c-2"}
ROWS = {"c-1": 5, "c-2": 9}


class Heard:
    def __init__(self):
        self.queries = []
        self.seen = []
        self.seconds = []
        self.wanted = False
        self.usage = []

    def dropped(self, rows, queries):
        assert (rows.dtype, queries.dtype) == (np.int64, np.uint32)
        self.queries.append(dict(zip(rows.tolist(), queries.tolist(), strict=True)))

    def asked(self, rows, queries, seconds):
        self.seconds.append(seconds)
        assert (rows.dtype, queries.dtype) == (np.int64, np.uint32)
        self.seen.append(dict(zip(rows.tolist(), queries.tolist(), strict=True)))

    def add(self, source, at, rows, down, up, mail=None):
        assert (rows.dtype, down.dtype, up.dtype, mail.dtype) == (np.int64, np.uint64, np.uint64, np.uint32)
        self.usage.append((source, at, rows.tolist(), down.tolist(), up.tolist(), mail.tolist()))


TABLE = Table(Role.SILENCE, False, 32)


def counters(given, *, whole=True):
    """As the kernel tells counters: packets and bytes by address."""
    keys = np.frombuffer(b"".join(place_of(one)[2] for one in given), "V4")
    packets, octets = (np.array([pair[place] for pair in given.values()], np.uint64) for place in (0, 1))
    return {TABLE: Counted(keys, packets, octets, whole)} if given else {}


class Told(LineCounts):
    def dropped_so_far(self, given, owners, *, whole=True):
        self.silenced(self.rows(self.silenced_since(counters(given, whole=whole)), owners))

    def asked_so_far(self, given, owners, at=0.0):
        new = self.asked_since(counters(given), at)
        if new is not None:
            self.asked(self.rows(new.queries, owners, new.moved), new.seconds)

    def used_so_far(self, at, down, up, mail, owners):
        new = self.usage_since(*map(counters, (down, up, mail)))
        if new is not None:
            self.usage(at, [self.rows(one, owners, new.moved) for one in new.parts])

    def rows(self, new, owners, moved=()):
        return asyncio.run(self.by_row(new, owners, moved))


def counts():
    heard = Heard()
    one = Told(ROWS.get, heard, heard)
    one.want(queries=True)
    return one, heard


def test_queries_dropped_are_added_up_over_the_addresses_of_a_customer():
    one, heard = counts()
    one.dropped_so_far({A: (7, 0)}, OWNERS)
    assert heard.queries == [], "what was dropped before this daemon looked was told by another"
    one.dropped_so_far({A: (10, 0), B: (2, 0), C: (0, 0)}, OWNERS)
    one.dropped_so_far({A: (10, 0), B: (2, 0)}, OWNERS)
    assert heard.queries == [{5: 5}]
    assert one.dropped == 5


def test_queries_let_through_are_told_at_each_reading_also_when_there_were_none():
    one, heard = counts()
    one.asked_so_far({A: (7, 0)}, OWNERS)
    assert heard.seen == [], "the first reading is where counting begins"
    one.asked_so_far({A: (10, 0), B: (2, 0), C: (4, 0)}, OWNERS)
    one.asked_so_far({A: (10, 0), B: (2, 0), C: (4, 0)}, OWNERS)
    one.moved([C])
    one.asked_so_far({A: (11, 0), B: (2, 0), C: (9, 0)}, OWNERS)
    one.asked_so_far({A: (11, 0), B: (2, 0), C: (10, 0)}, OWNERS)
    assert heard.seen == [{5: 5, 9: 4}, {}, {5: 1}, {9: 1}], "what an address asked while it moved is nobody's"
    assert (heard.queries, one.dropped) == ([], 0)


def test_queries_that_are_not_to_be_read_any_more_leave_nothing_behind():
    one, heard = counts()
    assert heard.wanted
    one.asked_so_far({A: (7, 0)}, OWNERS)
    one.moved([C])
    one.want(queries=False)
    assert not heard.wanted
    one.moved([A, B])
    one.asked_so_far({A: (9, 0)}, OWNERS)
    assert (one._asked, one._gone) == (None, set()), "nobody would take them out again"
    one.want(queries=True)
    one.asked_so_far({A: (100, 0)}, OWNERS)
    one.asked_so_far({A: (101, 0)}, OWNERS)
    assert heard.seen == [{5: 1}], "what was asked meanwhile is of no window"


def test_whose_very_many_addresses_are_is_looked_up_while_others_have_their_turn():
    one, _ = counts()
    many = {Prefix(A.value + number, 128): 1 for number in range(20 * control_linecounts._TURN)}

    async def story():
        looking = asyncio.create_task(one.by_row(many, dict.fromkeys(many, "c-1")))
        turns = 0
        while not looking.done():
            await asyncio.sleep(0)
            turns += 1
        return looking.result(), turns

    found, turns = asyncio.run(story())
    assert found == {5: len(many)}
    assert turns >= 20


@pytest.mark.parametrize("what", ["queries", "usage"])
def test_what_is_counted_of_an_address_is_not_the_next_customers_who_gets_it_while_it_is_looked_up(what):
    one, _ = counts()
    last = Prefix.parse("203.0.113.9")
    given = {Prefix(A.value + number, 128): (1, 1) for number in range(control_linecounts._TURN)} | {last: (900, 900)}
    owners = dict.fromkeys(given, "c-1")

    async def story(parts, moved):
        looking = asyncio.create_task(one.by_row(parts, owners, moved))
        await asyncio.sleep(0)
        one.moved([last])
        owners[last] = "c-2"
        assert await looking == {5: control_linecounts._TURN}

    if what == "queries":
        one.asked_since({}, 0.0)
        new = one.asked_since(counters(given), 1.0)
        asyncio.run(story(new.queries, new.moved))
    else:
        one.usage_since({}, {}, {})
        used = one.usage_since(counters(given), {}, {})
        asyncio.run(story(used.parts[0], used.moved))


def test_a_reading_of_queries_is_of_the_time_since_the_one_before():
    one, heard = counts()
    for at in (100.0, 102.0, 142.0):
        one.asked_so_far({A: (7, 0)}, OWNERS, at)
    assert (heard.seconds, one.apart) == ([2.0, 40.0], 40.0)


def test_a_table_that_was_made_anew_counts_from_nothing():
    one, heard = counts()
    for many in (100, 150, 20, 30):
        one.dropped_so_far({C: (many, 0)}, OWNERS)
    assert heard.queries == [{9: 50}, {9: 20}, {9: 10}]


def test_what_a_reading_that_was_torn_leaves_out_is_counted_once_with_the_next():
    one, heard = counts()
    one.dropped_so_far({A: (100, 0), C: (50, 0)}, OWNERS)
    one.dropped_so_far({A: (107, 0)}, OWNERS, whole=False)
    one.dropped_so_far({C: (53, 0), A: (107, 0)}, OWNERS)
    assert heard.queries == [{5: 7}, {9: 3}]


def test_prefixes_of_both_families_are_told_as_what_they_are():
    one, _ = counts()
    given = {Prefix.parse(text): (3, 0) for text in ("192.0.2.1/32", "198.51.100.255/32", "255.255.255.255/32")}
    assert one.silenced_since({}) == {}
    assert one.silenced_since(counters(given)) == dict.fromkeys(given, 3)
    six = Prefix.parse("2001:db8:0:100::/56")
    keys = np.frombuffer(place_of(six)[2], "V16")
    told = Counted(keys, np.array([4], np.uint64), np.array([0], np.uint64))
    assert one.silenced_since({Table(Role.SILENCE, True, 56): told}) == {six: 4}
    net = Prefix.parse("192.0.2.64/26")
    keys = np.frombuffer(place_of(net)[2], "V4")
    assert one.silenced_since({Table(Role.SILENCE, False, 26): Counted(keys, np.array([4], np.uint64), np.array([0], np.uint64))}) == {
        net: 4
    }


def test_an_address_that_is_nobodys_now_is_nobodys_usage():
    one, heard = counts()
    one.used_so_far(0.0, {}, {}, {}, OWNERS)
    one.used_so_far(1.0, {A: (1, 1000), Prefix.parse("192.0.2.9"): (1, 5)}, {A: (1, 10)}, {A: (3, 0)}, OWNERS)
    assert heard.usage == [(Source.COUNTERS, 1.0, [5], [1000], [10], [3])]


def test_the_first_reading_is_where_counting_begins_and_nothing_new_is_no_batch():
    one, heard = counts()
    for at in (0.0, 1.0):
        one.used_so_far(at, {A: (9, 9000)}, {}, {}, OWNERS)
    assert heard.usage == []
    one.used_so_far(2.0, {A: (10, 9500)}, {C: (1, 7)}, {}, OWNERS)
    assert heard.usage == [(Source.COUNTERS, 2.0, [5, 9], [500, 0], [0, 7], [0, 0])]


def test_what_an_address_was_used_for_while_it_went_to_another_customer_is_nobodys():
    one, heard = counts()
    one.used_so_far(0.0, {A: (9, 9000), B: (9, 9000)}, {}, {}, OWNERS)
    one.moved([A, B])
    one.used_so_far(1.0, {A: (10, 9500), B: (1, 300)}, {}, {}, OWNERS | {A: "c-2", B: "c-2"})
    assert heard.usage == [(Source.COUNTERS, 1.0, [9], [300], [0], [0])], "a counter that began anew is the new customer's alone"
    one.used_so_far(2.0, {A: (11, 9700), B: (1, 300)}, {}, {}, OWNERS | {A: "c-2", B: "c-2"})
    assert heard.usage[1:] == [(Source.COUNTERS, 2.0, [9], [200], [0], [0])]


class Kernel:
    """One counter each of queries dropped and let through; what is let through cannot be read while it `fails`."""

    def __init__(self):
        self.many, self.fails = 0, False

    async def counts(self, role, _):
        if role is Role.COUNT_QUERIES and self.fails:
            raise UnavailableError
        return counters({A: (self.many, 0)})


def test_queries_are_read_while_the_usage_of_very_many_is(monkeypatch):
    one, heard = counts()
    readings, clock, read = LineReadings(one), [100.0], []

    class Slow:
        async def counts(self, role, _):
            read.append(role)
            clock[0] += 3.0 if role in USAGE else 0.1
            return counters({A: (len(read), 0)}) if role is Role.COUNT_QUERIES else {}

    monkeypatch.setattr(control_linereadings, "time", SimpleNamespace(monotonic=lambda: clock[0], time=lambda: clock[0]))
    due = readings.due(LineSettings(shaping=False, counters=True), Where(), clock[0])
    asyncio.run(readings.read(due, Slow(), frozenset({TABLE, Table(Role.COUNT_QUERIES, False, 32, 1)}), OWNERS))
    queries = [Role.SILENCE, Role.COUNT_QUERIES]
    assert read == [*queries, Role.COUNT_DOWN, *queries, Role.COUNT_UP, *queries, Role.COUNT_MAIL, *queries]
    assert heard.seconds == [pytest.approx(3.2)] * 3
    assert heard.seen == [{5: 3}] * 3


def test_of_a_reading_that_fails_half_way_nothing_is_lost_and_both_halves_are_told_with_the_next():
    one, heard = counts()
    readings, kernel = LineReadings(one), Kernel()
    tables = frozenset({TABLE, Table(Role.COUNT_QUERIES, False, 32)})

    def read(many, *, fails=False):
        kernel.many, kernel.fails = many, fails
        asyncio.run(readings.read(Due(silenced=True, usage=False), kernel, tables, OWNERS))

    read(10)
    with pytest.raises(UnavailableError):
        read(15, fails=True)
    assert (heard.queries, heard.seen) == ([], [])
    read(18)
    assert (heard.queries, heard.seen) == ([{5: 8}], [{5: 8}])
