"""Made-up names: counted for whom they were asked, and kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import dns.rcode
import numpy as np
import pytest

from sekisho.drivers.tcpcontext import TcpContext
from sekisho.drivers.tcpverdict import Judge, Query
from sekisho.plane.sketch import CAPACITY, K_FIRST, K_HALF, K_NAMES, K_SECOND, KEPT, is_new
from sekisho.plane.wire import HEADER, Q_LABELS, parse_query
from sekisho.plane.worker import make_desk
from support.plane import CUSTOMER, OPTED_OUT, SECOND, START, STRANGER, UNCOMPILED, Plane, address, query, reply_to

pytestmark = UNCOMPILED

SOA = "example 600 IN SOA ns.example. hostmaster.example. 1 2 3 4 120"
FORWARDED, NEW, NXDOMAIN = 0, 1, 2


@pytest.fixture
def plane() -> Iterator[Plane]:
    with Plane() as one:
        yield one


def told(plane: Plane, row: int = 1) -> list[int]:
    return [int(count) for count in plane.counts.patterns[row, :3]]


def deny(plane: Plane, name: str, source: str = CUSTOMER) -> None:
    """A question whose name is not there."""
    if plane.ask(query(name), source) is None:
        for number, question in plane.asked():
            answer = reply_to(question, rcode=dns.rcode.NXDOMAIN, authority=[SOA])
            plane.respond(number, answer.to_wire())


def test_names_nobody_asked_for_and_answers_that_there_is_none_are_counted_for_who_asked(plane: Plane) -> None:
    for number in range(50):
        deny(plane, f"made-up-{number}.example")
    assert told(plane) == [50, 50, 50]
    assert told(plane, 2) == [0, 0, 0]


def test_a_name_asked_for_before_is_not_new_whoever_asked(plane: Plane) -> None:
    plane.ask(query("www.example"), CUSTOMER)
    plane.ask(query("WWW.example"), OPTED_OUT)
    plane.ask(query("www.example", "AAAA"), OPTED_OUT)
    assert (told(plane), told(plane, 2)) == ([1, 1, 0], [2, 0, 0])


def test_what_the_cache_answers_is_neither_forwarded_nor_new_but_it_tells_that_there_is_no_such_name(plane: Plane) -> None:
    deny(plane, "absent.example")
    deny(plane, "absent.example")
    deny(plane, "absent.example", OPTED_OUT)
    assert (told(plane), told(plane, 2)) == ([1, 1, 2], [0, 0, 1])
    plane.resolve(query("there.example"), None, "@ 300 IN A 198.51.100.7")
    plane.resolve(query("there.example"))
    assert told(plane) == [2, 2, 2]


def test_a_stranger_a_blocked_name_and_a_lie_of_a_resolver_count_nothing(plane: Plane) -> None:
    plane.ask(query("www.example"), STRANGER)
    plane.ask(query("bad.example"), CUSTOMER)
    assert int(plane.counts.patterns.sum()) == 0
    plane.ask(query("www.example"), CUSTOMER)
    [(number, question)] = plane.asked()
    lie = reply_to(query("other.example"), rcode=dns.rcode.NXDOMAIN, authority=[SOA])
    lie.id = int.from_bytes(question[:2], "big")
    plane.respond(number, lie.to_wire())
    assert told(plane) == [1, 1, 0]


def ask_sketch(desk: object, name: str, now: int = START) -> bool:
    packet = np.frombuffer(query(name) + bytes(8), np.uint8)
    parse_query(packet, 0, len(packet) - 8, desk.question, desk.lower, desk.labels)  # type: ignore[attr-defined]
    found = is_new(
        desk.sketch,
        desk.seen,
        desk.packet,
        desk.lower,
        desk.labels,
        desk.question[Q_LABELS],
        now,  # type: ignore[attr-defined]
    )
    return bool(found)


def test_a_name_in_the_sketch_is_never_new_and_a_new_one_seldom_known() -> None:
    desk = make_desk()
    rng = np.random.default_rng(3)
    ask_sketch(desk, "first.example")
    # As full as it ever is: three bits for each name of a full half.
    bits = rng.integers(0, 1 << 22, 3 * CAPACITY)
    half = desk.seen[int(desk.sketch[K_HALF])]
    np.bitwise_or.at(half, bits >> 6, np.uint64(1) << (bits & 63).astype(np.uint64))
    names = [f"{rng.integers(1 << 62):x}.example" for _ in range(600)]
    known = sum(not ask_sketch(desk, name) for name in names)
    assert known < len(names) // 10
    assert not any(ask_sketch(desk, name) for name in names)


def test_a_name_is_remembered_for_one_to_two_times_as_long_as_a_half_takes_names() -> None:
    desk = make_desk()
    assert ask_sketch(desk, "www.example")
    assert not ask_sketch(desk, "www.example", START + KEPT - 1)
    assert ask_sketch(desk, "turn.example", START + KEPT), "this turns the halves"
    assert not ask_sketch(desk, "www.example", START + KEPT + SECOND), "the older half is asked too, and the younger now has it"
    assert ask_sketch(desk, "turn.example", START + 3 * KEPT + SECOND) is False, "one half back"
    assert ask_sketch(desk, "www.example", START + 5 * KEPT), "two halves on, none of it is left"
    assert int(np.bitwise_count(desk.seen[int(desk.sketch[K_HALF])]).sum()) <= 3


def test_a_flood_turns_the_halves_sooner_and_a_full_one_takes_no_more() -> None:
    desk = make_desk()
    ask_sketch(desk, "www.example")
    half = int(desk.sketch[K_HALF])
    desk.sketch[K_NAMES] = CAPACITY
    assert ask_sketch(desk, "flood.example")
    assert (int(desk.sketch[K_HALF]), int(desk.sketch[K_NAMES])) == (1 - half, 1)


def test_every_desk_draws_a_key_of_its_own_and_leaves_it_in_no_scratch_room() -> None:
    desks = [make_desk() for _ in range(2)]
    for desk in desks:
        ask_sketch(desk, "www.example")
        assert not desk.packet[:16].any()
    keys = {(int(desk.sketch[K_FIRST]), int(desk.sketch[K_SECOND])) for desk in desks}
    assert len(keys) == 2
    assert all(all(key) for key in keys)
    assert not np.array_equal(desks[0].seen, desks[1].seen), "the same name, told apart by nobody without the key"


def test_over_tcp_the_same_is_counted(plane: Plane) -> None:
    desk = make_desk()
    for name in ("packets", "answers", "held"):
        assert len(desk[name]) >= 65535
    tables = (plane.snapshot, plane.customers, plane.buckets, (np.uint64(1), np.uint64(2)), 1)
    judge = Judge(TcpContext(tables, plane.counts, plane.hits, desk))
    for name in ("a.example", "b.example", "a.example"):
        outcome, _, _ = judge.rule(query(name), *address(CUSTOMER), four=True)
        assert outcome.name == "FORWARD"
        asked = judge.query()
        assert isinstance(asked, Query)
        reply = judge.check(asked.head, reply_to(query(name), rcode=dns.rcode.NXDOMAIN, authority=[SOA]).to_wire(), 1000)
        assert reply is not None
        assert len(judge.dress(asked, reply)) > HEADER
    assert told(plane) == [3, 2, 3]
