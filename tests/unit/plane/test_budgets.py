"""The hard budget at the edges of its arithmetic; its exactness against a model is a property test."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from sekisho.plane.budgets import spend
from support.plane import SECOND, START, UNCOMPILED

pytestmark = UNCOMPILED


def bucket(word: int = 0) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array([0, word], np.uint64)


def burst_of(buckets: np.ndarray[tuple[int], np.dtype[np.uint64]], rate: int, burst: int, now: int, tries: int = 200) -> int:
    """Queries that pass at one moment."""
    return sum(bool(spend(buckets, 1, rate, burst, now, True)) for _ in range(tries))


def test_a_full_bucket_gives_its_burst_and_not_one_more() -> None:
    buckets = bucket()
    assert burst_of(buckets, 10, 25, START) == 25
    assert burst_of(buckets, 10, 25, START + SECOND) == 10
    assert burst_of(buckets, 10, 25, START + 100 * SECOND) == 25, "it never holds more than the burst"


@pytest.mark.parametrize(("rate", "burst"), [(1, 1), (3, 7), (7, 1), (1000, 1), (999_983, 3)])
def test_over_a_long_flood_the_rate_is_what_the_rule_says(rate: int, burst: int) -> None:
    buckets = bucket()
    # As many instants as queries could pass, twice over, in one period of whole seconds.
    steps = 2 * min(rate, 2000)
    period = SECOND if rate <= 2000 else 2000 * SECOND // rate
    passed = sum(burst_of(buckets, rate, burst, START + step * period // steps, burst + 2) for step in range(1, steps + 1))
    assert passed in range(burst + rate * period // SECOND - 2, burst + rate * period // SECOND + 1)


def test_a_burst_of_zero_still_lets_single_queries_through() -> None:
    assert burst_of(bucket(), 5, 0, START) == 1


@pytest.mark.parametrize("ahead", [10_000 * SECOND, 400 * 86400 * SECOND, 2**62, 2**63 + 5, 2**64 - 1])
def test_a_word_from_another_boots_clock_is_forgotten(ahead: int) -> None:
    """The monotonic clock began again; nobody is silent until it catches up."""
    buckets = bucket(min(START + ahead, 2**64 - 1))
    assert burst_of(buckets, 10, 5, START) == 5
    assert int(buckets[1]) == START + 5 * SECOND // 10


def test_a_word_from_another_boots_clock_is_no_debt_in_a_dry_run_either() -> None:
    buckets = bucket(START + 10_000 * SECOND)
    assert spend(buckets, 1, 10, 5, START, False)
    assert int(buckets[1]) == START + 10_000 * SECOND, "asking takes nothing"


def test_a_debt_is_not_forgiven_because_one_workers_clock_reading_is_older() -> None:
    buckets = bucket()
    assert burst_of(buckets, 10, 5, START) == 5
    assert burst_of(buckets, 10, 5, START - SECOND // 2) == 0
    assert burst_of(buckets, 10, 5, START) == 0


def test_time_that_goes_back_gives_no_tokens_twice() -> None:
    buckets = bucket()
    assert burst_of(buckets, 10, 2, START) == 2
    assert burst_of(buckets, 10, 2, START + SECOND // 10) == 1
    assert burst_of(buckets, 10, 2, START) == 0
    assert burst_of(buckets, 10, 2, START + SECOND // 10) == 0


def test_a_dry_run_takes_nothing() -> None:
    buckets = bucket()
    assert all(spend(buckets, 1, 1, 1, START, False) for _ in range(10))
    assert burst_of(buckets, 1, 1, START) == 1
    assert not spend(buckets, 1, 1, 1, START, False)


def test_another_customers_bucket_is_not_touched() -> None:
    buckets = bucket()
    burst_of(buckets, 10, 5, START)
    assert int(buckets[0]) == 0


def test_workers_that_spend_at_once_never_exceed_the_burst_together() -> None:
    """Compare-and-exchange: the packets of one customer may arrive at any worker."""
    for _ in range(20):
        buckets, passed = bucket(), [0, 0, 0, 0]
        threads = [threading.Thread(target=flood, args=(buckets, passed, worker)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A query passes uncharged only when sixteen tries in a row lost; that is a handful at most.
        assert 600 <= sum(passed) <= 605


def flood(buckets: np.ndarray[tuple[int], np.dtype[np.uint64]], passed: list[int], worker: int) -> None:
    for _ in range(500):
        passed[worker] += bool(spend(buckets, 1, 10, 600, START, True))
