"""The token bucket in nanoseconds of integers against a bucket of exact fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plane.budgets import spend
from support.plane import SECOND, START, UNCOMPILED

pytestmark = UNCOMPILED

STEPS = st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(1, 12), st.booleans()), max_size=40)


@dataclass
class TokenBucket:
    """What a token bucket is: tokens that come at a rate, up to the burst."""

    cost: int
    burst: int
    tokens: Fraction
    at: int

    def spend(self, now: int, *, charge: bool) -> bool:
        self.tokens = min(Fraction(self.burst), self.tokens + Fraction(now - self.at, self.cost))
        self.at = now
        if self.tokens < 1:
            return False
        if charge:
            self.tokens -= 1
        return True


@given(st.integers(1, 5000), st.integers(1, 200), STEPS)
def test_every_query_is_judged_as_by_the_model(rate: int, burst: int, steps: list[tuple[int, int, bool]]) -> None:
    now = START
    buckets = np.zeros(1, np.uint64)
    model = TokenBucket(SECOND // rate, burst, Fraction(burst), now)
    for wait, queries, charge in steps:
        now += wait
        for _ in range(queries):
            assert bool(spend(buckets, 0, rate, burst, now, charge)) is model.spend(now, charge=charge)


@given(st.integers(1, 1000), st.integers(1, 50), st.integers(0, 2**64 - 1), STEPS)
def test_whatever_stands_in_the_word_the_customer_is_served_again_within_the_burst(
    rate: int, burst: int, word: int, steps: list[tuple[int, int, bool]]
) -> None:
    buckets = np.array([word], np.uint64)
    now = START
    for wait, _, charge in steps:
        now += wait
        spend(buckets, 0, rate, burst, now, charge)
    depth = SECOND // rate * burst
    assert spend(buckets, 0, rate, burst, now + depth + 2 * SECOND, True)
