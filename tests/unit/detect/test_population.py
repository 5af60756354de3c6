"""The average of a population, and what is far above it."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.config.detection import Detection, Statistic
from sekisho.detect.population import NORMAL, learn, louder, measure

MEAN = Detection(statistic=Statistic.MEAN, factor=10.0, floor=0.001)
MEDIAN = Detection(factor=10.0, floor=0.001)
COUNTS = st.lists(st.integers(0, 1000) | st.integers(0, 2**31), min_size=2, max_size=60)


def counted(*values: int) -> np.ndarray:
    return np.array(values, np.uint32)


@given(COUNTS, st.floats(0.5, 3600))
def test_the_figures_are_those_of_the_active_customers_less_the_loudest(values: list[int], seconds: float) -> None:
    found = measure(counted(*values), seconds, MEAN)
    active = sorted(value for value in values if value)
    assert found.active == len(active)
    others = active[:-1]
    if not others:
        assert (found.mean, found.median, found.mad, found.threshold) == (0, 0, 0, MEAN.floor)
        return
    median = statistics.median(others)
    assert found.mean == pytest.approx(statistics.fmean(others) / seconds)
    assert found.median == pytest.approx(median / seconds)
    assert found.mad == pytest.approx(statistics.median([abs(value - median) for value in others]) / seconds, rel=1e-5)
    assert found.statistic == pytest.approx(10 * found.mean)


@given(COUNTS)
def test_nobody_but_the_loudest_moves_the_threshold_by_asking_more(values: list[int]) -> None:
    """The one who floods is not measured against a flood of their own making."""
    loudest = int(np.argmax(values))
    more = [*values]
    more[loudest] = 2**32 - 1
    if values[loudest]:
        for settings in (MEAN, MEDIAN):
            assert measure(counted(*values), 10, settings).threshold == measure(counted(*more), 10, settings).threshold


@given(COUNTS, st.integers(2, 1000))
def test_a_surge_that_lifts_everybody_lifts_the_threshold_as_much(values: list[int], times: int) -> None:
    small = [value % 100_000 for value in values]
    for settings in (MEAN, MEDIAN):
        before = measure(counted(*small), 10, settings)
        after = measure(counted(*(value * times for value in small)), 10, settings)
        assert after.statistic == pytest.approx(before.statistic * times, rel=1e-4)


@given(COUNTS)
def test_in_a_population_of_equals_the_median_finds_nobody_however_exact_they_are(values: list[int]) -> None:
    """A MAD of nothing is no reason to find who asks one query more than the others."""
    found = measure(counted(*[700] * 20, 701), 10, MEDIAN)
    assert found.mad == 0
    assert found.threshold == pytest.approx(70 * 11)


def test_the_median_stays_where_a_few_floods_move_the_mean() -> None:
    quiet = [3] * 100
    flooded = [*quiet, *[100_000] * 10]
    assert measure(counted(*flooded), 10, MEDIAN).threshold == pytest.approx(0.3 + 10 * max(0, 0.3))
    assert measure(counted(*flooded), 10, MEAN).threshold > 1000


def test_the_median_counts_the_spread_as_a_deviation_of_its_own() -> None:
    found = measure(counted(1, 2, 10, 50, 60, 9000), 1, MEDIAN)
    assert (found.median, found.mad) == (10, 9)
    assert found.threshold == pytest.approx(10 + 10 * NORMAL * 9)


def test_with_nobody_to_compare_with_the_floor_alone_counts() -> None:
    for counts in (counted(), counted(0, 0), counted(0, 5000)):
        assert measure(counts, 10, Detection()).threshold == 200


def test_the_floor_is_below_no_threshold() -> None:
    assert measure(counted(1, 1, 1, 1), 10, Detection(floor=55)).threshold == 55


@given(COUNTS, st.floats(0.1, 100), st.integers(1, 10))
def test_louder_customers_by_row_the_loudest_of_too_many(values: list[int], rate: float, most: int) -> None:
    rows = louder(counted(*values), 10, rate, most).tolist()
    above = [row for row, value in enumerate(values) if value > rate * 10]
    assert rows == sorted(rows)
    assert set(rows) <= set(above)
    assert len(rows) == min(most, len(above))
    if rows:
        assert min(values[row] for row in rows) >= max((values[row] for row in above if row not in rows), default=0)


def test_what_is_usual_comes_slowly_and_goes_slowly() -> None:
    usual = np.zeros(3, np.float32)
    for _ in range(8640):
        learn(usual, counted(0, 3000), 10, 86400)
    assert usual.tolist() == pytest.approx([0, 300 * (1 - np.exp(-1)), 0], rel=1e-3)
    for _ in range(360):
        learn(usual, counted(0, 0), 10, 86400)
    assert usual[1] > 180
