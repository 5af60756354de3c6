"""Times in words."""

from __future__ import annotations

import time

import pytest

from sekisho.drivers.localtime import spoken


@pytest.mark.parametrize(
    ("zone", "words"),
    [("Asia/Tokyo", "2026-04-01 09:30:00+09:00"), ("UTC", "2026-04-01 00:30:00+00:00"), ("America/New_York", "2026-03-31 20:30:00-04:00")],
)
def test_a_time_is_told_in_the_zone_of_the_machine_with_its_offset(zone, words, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        try:
            assert spoken(1775003400.0) == words
        finally:
            patch.undo()
            time.tzset()
