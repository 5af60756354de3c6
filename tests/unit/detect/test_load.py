"""When name service suffers, and when it no longer does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.config.detection import LoadConditions
from sekisho.detect.load import Load, LoadSample, judge, percentile
from sekisho.model.counters import LATENCY_BOUNDS_US
from unit.detect.populations import BUCKETS, sample

CONDITIONS = LoadConditions()


@pytest.mark.parametrize(
    ("one", "holding"),
    [
        (sample(0.5), ()),
        (sample(0.8), ("utilisation",)),
        (sample(failed=150, answered=850), ("timeouts",)),
        (sample(failed=90, answered=910), ()),
        (sample(bucket=11), ()),
        (sample(bucket=12), ("latency",)),
        (sample(0.9, failed=1000, answered=1000, bucket=13), ("utilisation", "timeouts", "latency")),
    ],
)
def test_each_condition_is_enough(one: LoadSample, holding: tuple[str, ...]) -> None:
    assert judge(one, CONDITIONS, Load()).holding == holding


def test_the_busiest_worker_counts_for_a_flood_from_one_address_reaches_one_worker() -> None:
    load = judge(LoadSample(10, [0.1, 9.0, 0.2], 0, 0, [0] * BUCKETS), CONDITIONS, Load())
    assert (load.utilisation, load.held) == (0.9, True)


def test_a_condition_holds_until_its_figure_is_well_below_its_value() -> None:
    load = Load()
    held = []
    for utilisation in (0.79, 0.81, 0.7, 0.65, 0.63, 0.7, 0.79, 0.8):
        load = judge(sample(utilisation), CONDITIONS, load)
        held.append(load.held)
    assert held == [False, True, True, True, False, False, False, True]


def test_few_questions_tell_nothing_of_the_resolvers() -> None:
    load = judge(sample(failed=9, answered=10, bucket=13), CONDITIONS, Load())
    assert (load.timeouts, load.latency, load.held) == (None, None, False)


def test_a_plane_that_is_not_there_has_no_load() -> None:
    assert judge(LoadSample(10, [], 0, 0, [0] * BUCKETS), CONDITIONS, Load()) == Load()


def test_a_condition_left_out_never_holds() -> None:
    conditions = LoadConditions(utilisation=None, latency=None)
    assert judge(sample(1.0, bucket=13), conditions, Load()).holding == ()
    assert judge(sample(1.0, failed=900, answered=100), conditions, Load()).holding == ("timeouts",)


@given(st.lists(st.integers(0, 500), min_size=BUCKETS, max_size=BUCKETS), st.floats(0.01, 1))
def test_a_percentile_lies_in_the_bucket_of_its_answer(latency: list[int], share: float) -> None:
    found = percentile(latency, share)
    if sum(latency) < 20:
        assert found is None
        return
    assert found is not None
    reached = [sum(latency[: index + 1]) >= share * sum(latency) and latency[index] > 0 for index in range(BUCKETS)]
    bucket = reached.index(True)
    bounds = (0, *LATENCY_BOUNDS_US)
    assert bounds[min(bucket, BUCKETS - 1)] / 1e6 <= found + 1e-9
    assert found <= bounds[min(bucket + 1, BUCKETS - 1)] / 1e6 + 1e-9


def test_a_percentile_lies_straight_between_the_bounds() -> None:
    latency = [0] * BUCKETS
    latency[3] = 100
    assert percentile(latency, 0.5) == pytest.approx(0.00175)


def test_queries_of_all_customers_are_load_where_the_settings_say_so() -> None:
    conditions = LoadConditions(utilisation=None, timeouts=None, latency=None, queries=100)
    nothing: list[int] = [0] * BUCKETS
    load = judge(LoadSample(10, [], 0, 0, nothing, 999), conditions, Load())
    assert (load.holding, load.queries) == ((), 99.9)
    load = judge(LoadSample(10, [], 0, 0, nothing, 1000), conditions, load)
    assert load.holding == ("queries",)
    load = judge(LoadSample(10, [], 0, 0, nothing, 800), conditions, load)
    assert load.holding == ("queries",), "what came holds until its figure is well below"
    assert judge(LoadSample(10, [], 0, 0, nothing, 799), conditions, load).holding == ()
    assert judge(LoadSample(10, [], 0, 0, nothing), conditions, load).holding == ()
