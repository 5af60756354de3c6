"""How long is long enough, to come and to go; and whose history a row's is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.config.detection import Detection
from sekisho.detect.sustained import Watched, adopted, advance, carried, kept

SETTINGS = Detection(windows=5, sustained=3, clear=2)
STEPS = st.lists(st.sampled_from(["over", "calm", "between"]), max_size=60)


def pass_by(steps: list[str], settings: Detection = SETTINGS, customer: str = "c-1") -> tuple[list[bool], list[bool]]:
    """Whether the customer is found after each window, and whether its condition ended with it."""
    watched, found, ended = Watched(), [], []
    for number, step in enumerate(steps):
        before = carried(watched, np.array([7], np.int64), [customer])
        over, calm, late = (np.array([step == word]) for word in ("over", "calm", "late"))
        after, gone = advance(before, over, calm, settings, float(number), late)
        found.append(bool(after.found[0]))
        ended.append(bool(gone[0]))
        watched = kept(after)
    return found, ended


@given(STEPS)
def test_found_means_three_of_five_windows_and_gone_two_calm_ones_in_a_row(steps: list[str]) -> None:
    found, ended = pass_by(steps)
    state, since, last = False, 0, 0
    for number, step in enumerate(steps):
        history = [one == "over" for one in steps[max(last, number - 4) : number + 1]]
        gone = state and steps[max(since, number - 1) : number + 1] == ["calm", "calm"]
        if not state and step == "over" and sum(history) >= 3:
            state, since = True, number
        elif gone:
            state, last = False, number + 1
        assert (found[number], ended[number]) == (state, gone)


@given(STEPS, st.integers(1, 12), st.integers(1, 12))
def test_nobody_is_found_before_the_windows_are_there_or_in_a_calm_one(steps: list[str], windows: int, sustained: int) -> None:
    settings = Detection(windows=max(windows, sustained), sustained=sustained, clear=3)
    found, ended = pass_by(steps, settings)
    for number in range(len(steps)):
        came = found[number] and not (number and found[number - 1])
        assert not came or steps[number] == "over"
        assert not came or steps[: number + 1].count("over") >= sustained
        assert not ended[number] or steps[number - 2 : number + 1] == ["calm"] * 3


@given(st.lists(st.sampled_from(["over", "calm", "between", "late"]), max_size=60), st.integers(1, 4))
def test_what_is_told_later_never_ends_a_condition_and_is_left_out_of_the_calm_windows(steps: list[str], clear: int) -> None:
    found, ended = pass_by(steps, Detection(windows=2, sustained=1, clear=clear))
    for number, step in enumerate(steps):
        told = [one for one in steps[: number + 1] if one != "late"]
        calm = step == "calm" and told[-clear:] == ["calm"] * clear
        assert ended[number] == (calm and number > 0 and found[number - 1])


def test_a_row_that_is_another_customers_now_starts_anew() -> None:
    watched = Watched()
    for customer, expected in (("c-1", [1, 2, 3]), ("c-2", [1, 2, 3])):
        for count in expected:
            before = carried(watched, np.array([7], np.int64), [customer])
            watched, _ = advance(before, np.array([True]), np.array([False]), SETTINGS, 0.0)
            assert int(watched.history[0]).bit_count() == count
            assert bool(watched.found[0]) == (count == 3)


@given(st.dictionaries(st.integers(1, 30), st.booleans(), max_size=15), st.sets(st.integers(1, 30), max_size=15))
def test_histories_stay_with_their_rows_as_others_come_and_go(first: dict[int, bool], second: set[int]) -> None:
    rows = np.array(sorted(first), np.int64)
    before, _ = advance(
        carried(Watched(), rows, [f"c-{row}" for row in rows]), np.array([first[row] for row in sorted(first)], bool),
        np.zeros(len(rows), bool), SETTINGS, 0.0,
    )  # fmt: skip
    again = np.array(sorted(second), np.int64)
    after = carried(kept(before), again, [f"c-{row}" for row in again])
    assert after.history.tolist() == [int(first.get(row, False)) for row in sorted(second)]


def test_of_whom_there_is_nothing_to_remember_nothing_is_kept() -> None:
    rows = np.array([1, 2], np.int64)
    watched = carried(Watched(), rows, ["a", "b"])
    watched, _ = advance(watched, np.array([True, False]), np.array([False, True]), SETTINGS, 0.0)
    assert kept(watched).customers == ("a",)
    for _ in range(5):
        watched, _ = advance(watched, np.array([False, False]), np.array([True, True]), SETTINGS, 0.0)
    assert kept(watched).customers == ()


@pytest.mark.parametrize("rows", [[], [3], [9], [3, 7, 9], [3, 9]])
def test_a_condition_known_to_be_there_is_taken_over_and_its_end_told(rows: list[int]) -> None:
    watched = carried(Watched(), np.array(rows, np.int64), [f"c-{row}" for row in rows])
    watched = adopted(watched, 7, "c-7", 123.0)
    assert watched.rows.tolist() == sorted({*rows, 7})
    at = watched.place(7)
    assert at is not None
    assert (watched.customers[at], float(watched.since[at]), watched.found.sum()) == ("c-7", 123.0, 1)
    assert adopted(watched, 7, "c-7", 456.0) is watched
    number = len(watched.rows)
    for expected in (False, True):
        watched, ended = advance(watched, np.zeros(number, bool), np.ones(number, bool), SETTINGS, 200.0)
        assert bool(ended[at]) == expected
