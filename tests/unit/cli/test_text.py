"""What a terminal is shown: aligned, and never obeyed."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from sekisho.cli.text import duration, fold, moment, plain, table, width
from sekisho.cli.times import parse_moment
from sekisho.model.words import counted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("別記 1", "別記 1"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines", "two\\x0alines"),
        ("\u202eevil", "\\u202eevil"),
        ("c1\x9b", "c1\\x9b"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text, shown):
    assert plain(text) == shown


def test_wide_characters_keep_their_columns():
    lines = table(("A", "B"), [("別記", "x"), ("abcd", "y")])
    assert [width(line) for line in lines] == [7, 7, 7]


def test_nothing_is_a_dash():
    assert table(("A", "B"), [(None, "")])[1].split() == ["-", "-"]
    assert (moment(None), duration(None)) == ("-", "-")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.9, "59s"), (3660, "1h 1m"), (90061, "1d 1h"), (-5, "0s")])
def test_durations_in_two_units(seconds, text):
    assert duration(seconds) == text


def test_durations_count_from_now_forwards_and_back():
    assert parse_moment("7d", 1000.0, past=False) == 1000.0 + 7 * 86400
    assert parse_moment("1.5h", 10_000.0, past=True) == 10_000.0 - 5400
    assert parse_moment("2026-04-01T00:00:00+09:00", 0.0, past=False) == dt.datetime(2026, 3, 31, 15, tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(("zone", "offset"), [("UTC", "+00:00"), ("Asia/Tokyo", "+09:00")])
def test_a_time_of_day_is_the_last_there_was(monkeypatch, zone, offset):
    def at(text):
        return dt.datetime.fromisoformat(text + offset).timestamp()

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for text, expected in (
            ("03:14:07", "2026-04-02T03:14:07"),
            ("03:14", "2026-04-02T03:14"),
            ("3:14:08", "2026-04-01T03:14:08"),
            ("23:59", "2026-04-01T23:59"),
            ("00:00", "2026-04-02T00:00"),
        ):
            assert parse_moment(text, at("2026-04-02T03:14:07"), past=True) == at(expected)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["24:00", "12:60", "12:00:61", "12", "-1:00"])
def test_what_no_clock_shows_is_told(text):
    with pytest.raises(ValueError, match="09:30"):
        parse_moment(text, 0.0, past=True)


def test_a_time_of_day_to_come_wants_its_day():
    with pytest.raises(ValueError, match="neither a time"):
        parse_moment("09:30", 0.0, past=False)


@pytest.mark.parametrize("text", ["", "soon", "7", "7y", "-7d", "2026-13-01", "99999-01-01"])
def test_what_is_no_time_is_told(text):
    with pytest.raises(ValueError, match="neither a time"):
        parse_moment(text, 0.0, past=False)


def test_text_is_folded_at_spaces_and_between_japanese_characters():
    assert fold("one two three", 9, first="  ", more="    ") == ["  one two", "    three"]
    assert fold("あいうえお。か", 8) == ["あいうえ", "お。か"]
    assert fold("あいう。え", 6) == ["あい", "う。え"], "no line starts with a full stop"
    assert fold("a-very-long-word b", 5) == ["a-very-long-word", "b"]
    assert fold("\x1b[2J", 80) == ["\\x1b[2J"]


def test_one_is_counted_as_one() -> None:
    assert [counted(count, "prefix", "prefixes") for count in (0, 1, 2, 1234)] == ["0 prefixes", "1 prefix", "2 prefixes", "1,234 prefixes"]
