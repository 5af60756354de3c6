"""Lengths of time by the calendar of Japan: business days, months that clip, both directions."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.measures.calendar import ends, is_business_day, last_moment, starts
from sekisho.model.measures import Span, Unit

JAPAN = dt.timezone(dt.timedelta(hours=9))
MOMENTS = st.floats(1.5e9, 2.5e9)
SPANS = st.one_of(
    st.builds(Span, st.integers(0, 60).map(float), st.sampled_from([Unit.DAYS, Unit.BUSINESS_DAYS, Unit.MONTHS])),
    st.builds(Span, st.floats(0, 1e7), st.just(Unit.SECONDS)),
)


def at(text: str) -> float:
    """A moment in Japan."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=JAPAN).timestamp()


def business(days: int) -> Span:
    return Span(days, Unit.BUSINESS_DAYS)


def months(count: int) -> Span:
    return Span(count, Unit.MONTHS)


@pytest.mark.parametrize(
    ("span", "start", "end"),
    [
        (Span(86400, Unit.SECONDS), "2026-03-31 10:00", "2026-04-01 10:00"),
        (Span(0, Unit.DAYS), "2026-03-31 10:00", "2026-03-31 10:00"),
        (Span(10, Unit.DAYS), "2026-12-25 10:00", "2027-01-04 10:00"),
        (business(1), "2026-04-03 18:00", "2026-04-06 18:00"),  # Friday to Monday
        (business(1), "2026-04-04 09:00", "2026-04-06 09:00"),  # of a Saturday nothing counts
        (business(10), "2026-12-18 12:00", "2027-01-04 12:00"),  # over the year's end: only New Year's Day is a holiday
        (business(1), "2026-05-01 12:00", "2026-05-07 12:00"),  # 3 May 2026 is a Sunday: 6 May is its substitute
        (business(1), "2026-09-18 12:00", "2026-09-24 12:00"),  # 22 September 2026 lies between two holidays and is one
        (business(1), "2027-03-19 12:00", "2027-03-23 12:00"),  # the vernal equinox of 2027 is a Sunday
        (months(3), "2026-11-30 23:59", "2027-02-28 23:59"),  # clipped at the month's end
        (months(3), "2027-11-30 23:59", "2028-02-29 23:59"),  # in a leap year a day later
        (months(12), "2028-02-29 00:00", "2029-02-28 00:00"),
        (months(1), "2026-01-31 08:00", "2026-02-28 08:00"),
        (months(2), "2026-12-31 08:00", "2027-02-28 08:00"),
    ],
)
def test_a_span_ends_where_the_calendar_of_japan_says(span, start, end):
    assert ends(span, at(start)) == at(end)


@pytest.mark.parametrize(
    ("span", "event", "latest"),
    [
        (business(10), "2026-01-14 02:00", "2025-12-29 02:00"),  # 1 and 12 January are holidays
        (business(10), "2026-05-17 02:00", "2026-04-28 02:00"),  # a Sunday: Friday 15 May is the first day back
        (business(1), "2026-05-07 02:00", "2026-05-01 02:00"),
        (months(3), "2026-05-31 00:00", "2026-02-28 00:00"),
        (months(3), "2028-05-31 00:00", "2028-02-29 00:00"),
        (months(6), "2026-03-31 00:00", "2025-09-30 00:00"),
        (Span(30, Unit.DAYS), "2026-03-01 09:00", "2026-01-30 09:00"),
        (Span(3600, Unit.SECONDS), "2026-01-01 00:30", "2025-12-31 23:30"),
    ],
)
def test_a_notice_has_to_be_out_by_the_latest_moment_before_the_event(span, event, latest):
    assert starts(span, at(event)) == at(latest)


@given(span=SPANS, moment=MOMENTS)
def test_a_notice_given_at_the_latest_moment_is_in_time(span, moment):
    latest = starts(span, moment)
    assert latest <= moment
    if span.unit is Unit.BUSINESS_DAYS and not is_business_day(dt.datetime.fromtimestamp(moment, JAPAN).date()):
        return  # the last of the days is the one before a weekend or holiday: counted on from there it ends after it
    assert ends(span, latest) <= moment + 1e-3


@given(span=SPANS, moment=MOMENTS, later=st.floats(0, 1e7))
def test_a_span_that_starts_later_never_ends_more_than_a_day_earlier(span, moment, later):
    assert ends(span, moment + later) >= ends(span, moment) - 86400


def test_days_are_those_of_japan_whatever_the_machine_says(monkeypatch):
    before = ends(business(1), at("2026-04-03 08:00"))  # in UTC still Thursday
    monkeypatch.setenv("TZ", "America/New_York")
    assert before == ends(business(1), at("2026-04-03 08:00")) == at("2026-04-06 08:00")


def test_whole_days_end_with_the_last_of_them():
    assert last_moment(Span(10, Unit.DAYS), at("2026-04-01 15:00")) == at("2026-04-12 00:00")
    assert last_moment(months(3), at("2026-11-30 15:00")) == at("2027-03-01 00:00")
    assert last_moment(Span(3600, Unit.SECONDS), at("2026-04-01 15:00")) == at("2026-04-01 16:00")


@pytest.mark.parametrize(
    ("day", "open_"),
    [
        ("2026-05-06", False),
        ("2026-05-07", True),
        ("2026-12-31", True),
        ("2027-01-01", False),
        ("2027-01-02", False),
        ("2019-05-01", False),
    ],
)
def test_a_business_day_is_neither_weekend_nor_public_holiday(day, open_):
    assert is_business_day(dt.date.fromisoformat(day)) is open_


@pytest.mark.parametrize("span", [Span(1.5, Unit.DAYS), Span(0.5, Unit.MONTHS), Span(-1, Unit.DAYS), Span(float("nan"), Unit.SECONDS)])
def test_a_span_that_no_calendar_has_is_refused(span):
    with pytest.raises(ValueError, match=r"length of time|whole days"):
        ends(span, 0.0)
