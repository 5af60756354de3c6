"""Where the time of one query goes within the plane: each step of its path, in nanoseconds, over tables of full size.

No sockets: what the kernel asks for a query is in the comparison, as its system time. Every step runs over
batches of 64 different queries of different customers, so caches are as cold as they are at work; all of it over
smaller ones too, as they are where less comes in (`test_batches.py`).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.names import Questions, allowed_names, blocked_names, packed
from bench.settings import NAMES, pick
from sekisho.drivers.maps import Head, map_customers, map_snapshot
from sekisho.drivers.tablerows import CustomerRow
from sekisho.drivers.tables import TableWriter
from sekisho.lists.compile import compile_feed
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.plane import cache as packets
from sekisho.plane.addresses import source_of
from sekisho.plane.answer import dress, room_of
from sekisho.plane.loop import look_up
from sekisho.plane.queries import serve_query
from sekisho.plane.sketch import is_new
from sekisho.plane.verdict import decide
from sekisho.plane.wire import Q_END, Q_LABELS, parse_query
from sekisho.plane.worker import BATCH, ROW, SOURCE
from sekisho.snapshot.build import build
from sekisho.snapshot.compiling import get_numba
from support.plane import KEY, Plane, profile, rule

CUSTOMERS = 100_000
FIRST = 0x7F100000
TURNS = pick(9, 3)
SIZES = (1, 4, 16, 32, BATCH)

njit = get_numba().njit
PARSE, PEOPLE, VERDICT, KEYED, FOUND, DRESSED, WHOLE, NEW = range(8)
STEPS = (
    (PARSE, "parse the query"),
    (PEOPLE, "find the customers of a batch"),
    (VERDICT, "verdict: budget, digest of the name, the index"),
    (KEYED, "key of the packet cache"),
    (FOUND, "find the answer, copy it, count its TTLs down"),
    (DRESSED, "make it this client's"),
    (WHOLE, "all of it, from the received packet to the queued answer"),
    (NEW, "besides, where it goes on to a resolver: is its name new"),
)


@njit(boundscheck=False, nogil=True)
def put(desk, questions, lengths, sources, first, size):  # type: ignore[no-untyped-def]
    """A batch as the kernel would have left it."""
    for row in range(size):
        for index in range(lengths[first + row]):
            desk.packets[row * ROW + index] = questions[first + row, index]
        address = sources[first + row]
        base = row * SOURCE
        desk.sources[base] = 2
        for index in range(4):
            desk.sources[base + 4 + index] = address >> 8 * (3 - index) & 255


@njit(boundscheck=False, nogil=True)
def pass_through(what, size, snapshot, customers, buckets, key, cache, counts, hits, desk, questions, lengths, sources, now):  # type: ignore[no-untyped-def]
    """One step, and what it needs before it, over all queries, `size` at a time; `what` -1 only lays the packets out."""
    for first in range(0, lengths.shape[0] - size + 1, size):
        put(desk, questions, lengths, sources, first, size)
        if PEOPLE <= what != NEW:
            look_up(customers, buckets, counts, desk, size)
        for row in range(size if what >= 0 else 0):
            length = lengths[first + row]
            if what == WHOLE:
                serve_query(
                    snapshot, customers, buckets, key, 1, cache, counts, hits, desk, 7, row, length, True, now, now // 1_000_000_000
                )
                continue
            parse_query(desk.packets, row * ROW, length, desk.question, desk.lower, desk.labels)
            if what == NEW:
                is_new(desk.sketch, desk.seen, desk.packet, desk.lower, desk.labels, desk.question[Q_LABELS], now)
                continue
            if what >= VERDICT:
                high, low = source_of(desk.sources, row * SOURCE)
                decide(
                    snapshot, customers, buckets, key, desk.who[row], high, low, desk.lower, desk.labels, desk.question[Q_LABELS],
                    now, True, False, desk.masks, desk.combos, desk.prints, desk.ruling,
                )  # fmt: skip
            if what >= KEYED:
                size = packets.make_key(desk.question, desk.lower, 0, desk.cache_key)
                mixed = packets.hash_key(cache, desk.cache_key, size)
                if what >= FOUND:
                    at = packets.find(cache, desk.cache_key, size, mixed, now // 1_000_000_000, 0)
                    if at >= 0:
                        answer = packets.read(cache, at, desk.answers, row * ROW, now // 1_000_000_000, 30)
                        if what >= DRESSED:
                            dress(
                                desk.answers, row * ROW, answer, desk.packets, row * ROW, desk.question,
                                desk.notes, 0, 0, -1, room_of(desk.question),
                            )  # fmt: skip
        desk.queued[0] = 0


@njit
def remember(desk, cache, questions, lengths, seconds):  # type: ignore[no-untyped-def]
    """An answer to each query, of one record, in the cache."""
    for row in range(lengths.shape[0]):
        length = lengths[row]
        for index in range(length):
            desk.packets[index] = questions[row, index]
        parse_query(desk.packets, 0, length, desk.question, desk.lower, desk.labels)
        size = packets.make_key(desk.question, desk.lower, 0, desk.cache_key)
        mixed = packets.hash_key(cache, desk.cache_key, size)
        end = desk.question[Q_END]
        desk.ttls[0] = end + 6
        packets.store(
            cache, desk.cache_key, size, mixed, seconds, 80_000, desk.packets, 0, end + 16, desk.ttls, 1, desk.notes, 0, 0, desk.totals
        )


def tables(folder: Path, blocked: list[str]) -> tuple[Any, Any]:
    """A list of the blocked names, and customers of one address each with a budget nobody meets."""
    writer = TableWriter(folder)
    definition = ListDefinition("c2", 0, "c2", "c2.txt", ListFormat.DOMAINS, Scope.SUBTREE)
    compiled = compile_feed(definition, bytearray("\n".join(blocked).encode()), KEY, file="c2.txt").compiled
    writer.publish_snapshot(build(1, [(definition, compiled)], [profile(rule("gunma/別記-1"))], [], KEY), 1)
    rows = [
        CustomerRow(f"c-{number}", (Prefix(V4_MAPPED | FIRST + number, 128),), 1, 0, budget_rate=10**6, budget_burst=10**6)
        for number in range(CUSTOMERS)
    ]
    writer.replace_customers(rows, [], CUSTOMERS)
    head = Head(folder)
    return map_snapshot(folder, head.epoch, KEY, resident=True), map_customers(folder, head.generation)


def measured(plane: Plane, questions: Questions, sources: Any, size: int, steps: Sequence[int]) -> dict[int, float]:
    """Nanoseconds a query has spent when each step is done: the least of some turns, less what laying the packets out takes."""
    queries = len(questions.lengths) // size * size
    least: dict[int, float] = {}
    for _ in range(TURNS):
        for what in (-1, *steps):
            began = time.perf_counter_ns()
            pass_through(
                what, size, plane.snapshot.view, plane.customers.view, plane.buckets, KEY, plane.cache.view, plane.counts.view,
                plane.hits.view, plane.desk, questions.packets, questions.lengths, sources, plane.now,
            )  # fmt: skip
            taken = (time.perf_counter_ns() - began) / queries
            least[what] = min(taken, least.get(what, taken))
    return {what: least[what] - least[-1] for what in steps}


def test_where_the_time_of_a_query_goes() -> None:
    # Where all of the plane's code is kept, nothing has told Numba yet what our functions are, which those above call.
    assert parse_query.dispatcher
    blocked, allowed = blocked_names(NAMES), allowed_names()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        snapshot, customers = tables(Path(folder), blocked)
        print(f"\n{NAMES:,} names, {CUSTOMERS:,} customers; ns a query, least of {TURNS}")
        spent, whole = {}, {}
        for mix, names in (("allowed", allowed), ("blocked", blocked[:: max(1, NAMES // 60_000)])):
            questions = packed(names)
            sources = np.random.default_rng(1).integers(FIRST, FIRST + CUSTOMERS, len(names))
            with Plane(snapshot.tables, customers.tables, upstreams=1, sockets=1, cache_bytes=64 << 20) as plane:
                remember(plane.desk, plane.cache.view, questions.packets, questions.lengths, plane.now // 10**9)
                spent[mix] = measured(plane, questions, sources, BATCH, range(len(STEPS)))
                whole[mix] = [measured(plane, questions, sources, size, [WHOLE])[WHOLE] for size in SIZES]
        print(f"{'':62} {'allowed':>9} {'blocked':>9}")
        for number, (what, told) in enumerate(STEPS):
            before = {mix: one[PARSE if what == NEW else what - 1] if number and what != WHOLE else 0.0 for mix, one in spent.items()}
            there = [
                f"{one[what] - before[mix]:9.0f}" if mix == "allowed" or what not in (KEYED, FOUND, DRESSED) else " " * 9
                for mix, one in spent.items()
            ]
            print(f"{told:62} {' '.join(there)}")
        for size, *there in zip(SIZES, *whole.values(), strict=True):
            print(f"{f'all of it, {size} at a time':62} {' '.join(f'{one:9.0f}' for one in there)}")
        assert spent["allowed"][WHOLE] < 100_000
