"""The packet cache against a dictionary with a clock: TTLs, expiry, staleness and bounds, in virtual time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from sekisho.model.counters import TOTALS, Counter
from sekisho.plane import cache as packets
from sekisho.plane.wire import NAME_ROOM, Q_DO, Q_FLAGS, Q_NAME, Q_SLOTS, Q_TYPE
from support.plane import UNCOMPILED, wire

pytestmark = UNCOMPILED

HEADER, FIRST_TTL = 12, 20


@dataclass(frozen=True)
class Question:
    """All that makes answers differ."""

    name: str
    rdtype: int = 1
    do: int = 0
    flags: int = 0x0100
    scope: int = 0


@dataclass(frozen=True)
class Kept:
    at: int
    ends: int
    octets: bytes
    ttls: tuple[int, ...]
    notes: bytes


class Store:
    """The compiled cache, by questions and octets."""

    def __init__(self, size: int = 65536, seed: int = 1) -> None:
        self.cache = packets.make_cache(size, seed)
        self.totals = np.zeros(TOTALS, np.uint64)
        self.key = np.zeros(packets.KEY_ROOM, np.uint8)

    def key_of(self, question: Question) -> tuple[int, np.uint64]:
        slots, lower = np.zeros(Q_SLOTS, np.int64), np.zeros(NAME_ROOM, np.uint8)
        octets = wire(question.name)
        lower[: len(octets)] = np.frombuffer(octets, np.uint8)
        slots[Q_NAME], slots[Q_TYPE], slots[Q_DO], slots[Q_FLAGS] = len(octets), question.rdtype, question.do, question.flags
        length = int(packets.make_key(slots, lower, question.scope, self.key))
        return length, np.uint64(packets.hash_key(self.cache.view, self.key, length))

    def keep(self, question: Question, now: int, ttl: int, octets: bytes, ttls: tuple[int, ...], notes: bytes = b"") -> None:
        length, mixed = self.key_of(question)
        packet = np.frombuffer(bytes(7) + octets, np.uint8).copy()
        offsets = np.array([FIRST_TTL + 8 * index for index in range(len(ttls))] or [0], np.int64)
        noted = np.frombuffer(notes or b"\0", np.uint8).copy()
        packets.store(
            self.cache.view,
            self.key,
            length,
            mixed,
            now,
            ttl,
            packet,
            7,
            len(octets),
            offsets,
            len(ttls),
            noted,
            0,
            len(notes),
            self.totals,
        )

    def find(self, question: Question, now: int, stale: int = 0, stale_ttl: int = 30) -> tuple[bytes, bytes] | None:
        """Octets of the answer and of its notes."""
        length, mixed = self.key_of(question)
        at = int(packets.find(self.cache.view, self.key, length, mixed, now, stale))
        if at < 0:
            return None
        out = np.zeros(20_000, np.uint8)
        size = int(packets.read(self.cache.view, at, out, 5, now, stale_ttl))
        start, noted = packets.notes_of(self.cache.view, at)
        return out[5 : 5 + size].tobytes(), self.cache.data[start : start + noted].tobytes()


def message(seed: int, ttls: tuple[int, ...], extra: int) -> bytes:
    """Octets whose TTL fields stand where `Store.keep` says."""
    body = b"".join(ttl.to_bytes(4, "big") + bytes((seed & 255,)) * 4 for ttl in ttls)
    return bytes((seed & 255,)) * FIRST_TTL + body + bytes((seed >> 8 & 255,)) * extra


def aged(kept: Kept, now: int, stale_ttl: int = 30) -> bytes:
    """What a reader is given at `now`."""
    ttls = [stale_ttl if now >= kept.ends else max(0, ttl - (now - kept.at)) for ttl in kept.ttls]
    found = bytearray(kept.octets)
    for index, ttl in enumerate(ttls):
        found[FIRST_TTL + 8 * index : FIRST_TTL + 8 * index + 4] = ttl.to_bytes(4, "big")
    return bytes(found)


QUESTIONS = st.builds(
    Question,
    st.sampled_from(["a.example", "b.example", "example", "x." * 100 + "example"]),
    st.sampled_from([1, 28, 256]),
    st.integers(0, 1),
    st.sampled_from([0, 0x0100, 0x0110, 0x0010]),
    st.sampled_from([0, 1, 2**31]),
)


class CacheMachine(RuleBasedStateMachine):
    """Any order of storing, reading and waiting. A dictionary that forgets nothing says what may be read."""

    kept = Bundle("kept")

    @initialize(seed=st.integers(0, 2**62))
    def start(self, seed: int) -> None:
        self.store = Store(seed=seed)
        self.model: dict[Question, Kept] = {}
        self.now = 1000
        self.stores = 0

    @rule(
        target=kept,
        question=QUESTIONS,
        ttls=st.lists(st.integers(1, 2000), max_size=6),
        extra=st.one_of(st.integers(0, 600), st.integers(4000, 12_000)),
        notes=st.binary(max_size=100),
    )
    def keep(self, question: Question, ttls: list[int], extra: int, notes: bytes) -> Question:
        self.stores += 1
        octets = message(self.stores, tuple(ttls), extra)
        ttl = min(ttls, default=60)
        self.store.keep(question, self.now, ttl, octets, tuple(ttls), notes)
        self.model[question] = Kept(self.now, self.now + ttl, octets, tuple(ttls), notes)
        assert self.store.find(question, self.now) == (octets, notes), "what was just kept is found"
        return question

    @rule(seconds=st.integers(0, 900))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(question=st.one_of(kept, QUESTIONS), stale=st.sampled_from([0, 100, 10_000]))
    def look(self, question: Question, stale: int) -> None:
        found = self.store.find(question, self.now, stale)
        known = self.model.get(question)
        if known is None or self.now >= known.ends + stale:
            assert found is None
        elif found is not None:
            assert found == (aged(known, self.now), known.notes)

    @invariant()
    def is_bounded(self) -> None:
        if hasattr(self, "store"):
            entries, used = packets.usage(self.store.cache)
            assert used <= 65536
            assert entries <= len(self.model) + 4 * self.stores
            assert int(self.store.totals[Counter.CACHE_STORED]) == self.stores


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=max(20, settings.default.max_examples // 3), stateful_step_count=40, deadline=None)


@given(st.integers(1, 86400), st.integers(0, 100_000), st.integers(0, 100_000))
def test_an_answer_is_fresh_for_its_ttl_then_stale_for_as_long_as_allowed_then_gone(ttl: int, age: int, stale: int) -> None:
    store, question = Store(), Question("a.example")
    octets = message(1, (ttl, ttl + 50), 10)
    store.keep(question, 5000, ttl, octets, (ttl, ttl + 50))
    kept = Kept(5000, 5000 + ttl, octets, (ttl, ttl + 50), b"")
    found = store.find(question, 5000 + age, stale)
    assert (found is not None) is (age < ttl + stale)
    if found is not None:
        assert found[0] == aged(kept, 5000 + age)


@given(st.integers(0, 2**62), st.integers(1, 1500), st.integers(20, 1900))
@settings(max_examples=15)
def test_memory_is_bounded_and_what_was_kept_last_is_found(seed: int, count: int, size: int) -> None:
    store = Store(seed=seed)
    octets = bytes(size)
    for number in range(count):
        store.keep(Question(f"{number}.example"), 1, 60, octets, ())
    found = [number for number in range(count) if store.find(Question(f"{number}.example"), 2) is not None]
    assert count - 1 in found
    assert sum(size for _ in found) <= 65536
    assert packets.usage(store.cache)[0] == len(found)


def test_an_entry_that_is_overwritten_by_a_few_octets_is_gone() -> None:
    """Its key still stands where it stood; when it was stored and when it ends does not."""
    for over in range(8, 600, 8):
        store = Store()
        first, second, third = Question("a.example"), Question("b.example"), Question("c.example")
        store.keep(first, 1, 60, bytes(400), ())
        end = int(store.cache.state[0])
        store.keep(second, 1, 60, bytes(400), ())
        filler = 0
        while int(store.cache.state[0]) + end <= 65536:
            store.keep(Question(f"{filler}.example"), 1, 60, bytes(400), ())
            filler += 1
        store.keep(third, 1, 60, bytes(400 + over), ())
        assert int(store.cache.state[0]) >= 65536 + end, "the ring went round"
        assert store.find(second, 2) is None
        assert store.find(third, 2) is not None


def test_an_answer_larger_than_a_quarter_of_the_cache_or_of_no_ttl_is_not_kept() -> None:
    store, question = Store(), Question("a.example")
    store.keep(question, 1, 60, bytes(17_000), ())
    store.keep(question, 1, 0, bytes(50), ())
    assert store.find(question, 1) is None
    assert int(store.totals[Counter.CACHE_STORED]) == 0


def test_a_cache_of_no_size_keeps_nothing_and_harms_nobody() -> None:
    store, question = Store(size=0), Question("a.example")
    store.keep(question, 1, 60, bytes(50), ())
    assert store.find(question, 1, 1000) is None
    assert packets.usage(store.cache) == (0, 0)


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    store, question = Store(), Question("a.example")
    for number in range(10):
        store.keep(question, number, 60, bytes((number,)) * 40, ())
    assert store.find(question, 10) == (bytes((9,)) * 40, b"")
    assert packets.usage(store.cache)[0] == 1


def test_time_that_goes_back_lengthens_no_ttl() -> None:
    store, question = Store(), Question("a.example")
    octets = message(3, (60,), 4)
    store.keep(question, 1000, 60, octets, (60,))
    assert store.find(question, 990) == (octets, b"")
