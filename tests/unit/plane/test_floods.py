"""Floods: a million names, answers that are guessed, one customer who asks for everything. Memory stays, others are served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sekisho.model.counters import TOTALS, Counter
from sekisho.plane import cache as packets
from sekisho.plane.native import put32
from sekisho.plane.worker import PENDING
from sekisho.snapshot.compiling import compiled
from support.plane import ALLOWED, CUSTOMER, Plane, numbered, query, reply_to

ADDRESS = "@ 300 IN A 198.51.100.7"
MILLION = 1_000_000
KEY, SIZE = 24, 120


@compiled
def keep_many(cache, key, first, count, packet, offsets, notes, totals):  # type: ignore[no-untyped-def]
    """Store an answer for each of many names; the compiled cache's own functions, a million times."""
    for number in range(first, first + count):
        put32(key, 4, number)
        mixed = packets.hash_key(cache, key, KEY)
        packets.store(cache, key, KEY, mixed, 100, 300, packet, 0, SIZE, offsets, 0, notes, 0, 0, totals)


@compiled
def find_many(cache, key, first, count):  # type: ignore[no-untyped-def]
    """How many of them are found."""
    found = 0
    for number in range(first, first + count):
        put32(key, 4, number)
        if packets.find(cache, key, KEY, packets.hash_key(cache, key, KEY), 100, 0) >= 0:
            found += 1
    return found


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_million_distinct_names_take_the_memory_of_the_cache_and_no_more() -> None:
    size = 16 << 20
    cache, totals = packets.make_cache(size, 7), np.zeros(TOTALS, np.uint64)
    key, packet, offsets, notes = np.zeros(64, np.uint8), np.zeros(512, np.uint8), np.zeros(1, np.int64), np.zeros(8, np.uint8)
    keep_many(cache.view, key, 0, 1, packet, offsets, notes, totals)
    before = resident()
    keep_many(cache.view, key, 0, MILLION, packet, offsets, notes, totals)
    assert resident() - before < size * 1.25, "the cache and its index"
    entries, used = packets.usage(cache)
    assert used <= size
    assert 0 < entries < size // SIZE
    assert int(totals[Counter.CACHE_STORED]) == MILLION + 1
    newest = 20_000
    assert find_many(cache.view, key, MILLION - newest, newest) > 0.95 * newest, "the newest are kept"
    assert find_many(cache.view, key, 0, newest) == 0, "the oldest went for them"


def test_one_who_guesses_every_id_but_the_right_one_puts_nothing_into_the_cache() -> None:
    """Sixty thousand forged answers of the right form to the right socket, and the right id to every other socket."""
    with Plane(upstreams=1, sockets=4) as plane:
        assert plane.ask(query("www.example")) is None
        ((socket, question),) = plane.asked()
        forged = bytearray(reply_to(question, "@ 300 IN A 203.0.113.66").to_wire())
        right = int.from_bytes(forged[:2], "big")
        for identity in range(65536):
            forged[:2] = identity.to_bytes(2, "big")
            if identity != right:
                assert not plane.respond(socket, bytes(forged))
        forged[:2] = right.to_bytes(2, "big")
        for other in range(4):
            if other != socket:
                assert not plane.respond(other, bytes(forged))
        assert plane.total(Counter.UPSTREAM_MISMATCHED) == 65535 + 3
        (answer,) = plane.respond(socket, reply_to(question, ADDRESS).to_wire())
        assert bytes((198, 51, 100, 7)) in answer
        again = plane.ask(query("www.example"))
        assert again is not None
        assert bytes((198, 51, 100, 7)) in again


@pytest.mark.parametrize("listed", ["bad.example", "sealed.example"])
def test_while_one_has_filled_every_place_listed_and_known_names_of_others_are_answered(listed: str) -> None:
    with Plane(upstreams=1, sockets=4, S_TRIES=1) as plane:
        assert plane.resolve(query("known.example"), None, ADDRESS) is not None
        one = query("00000.flood.example")
        for number in range(PENDING + 1):
            assert plane.ask(numbered(one, number), ALLOWED) is None
            if number % 16 == 0:
                plane.asked()
        assert plane.total(Counter.PENDING_FULL) == 1
        assert plane.ask(query("known.example")) is not None
        assert plane.ask(query(listed), CUSTOMER) is not None
        assert plane.ask(query("unknown.example")) is None, "dropped: no place is free"
        assert plane.total(Counter.PENDING_FULL) == 2
        plane.wait(3)
        assert plane.resolve(query("unknown.example"), None, ADDRESS) is not None
