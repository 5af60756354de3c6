"""What `sekisho usage show` says in words."""

from __future__ import annotations

from sekisho.cli.verbs_usage import _days

LIMIT = {"clause": "nbnet/22-2-4", "effect": "limit-rate", "effect_words": "the line keeps 25% of its speed", "since": 1_800_000_000.0}
DAY = {"date": "2026-04-01", "down_bytes": 36_000_000_000, "up_bytes": 1_800_000_000, "sources": ["flows"]}


def said(days, limits):
    body = {"customer": "c-1", "days": days, "plan": {"down_mbps": 100.0, "up_mbps": 100.0}, "limits": limits}
    return "\n".join(_days(body))


def test_totals_of_days_and_what_limits_the_line():
    text = said([DAY], [LIMIT])
    assert "36.0 GB" in text
    assert "under nbnet/22-2-4: the line keeps 25% of its speed" in text
    assert "sekisho explain --customer c-1" in text


def test_a_little_is_not_shown_as_nothing():
    little = DAY | {"up_bytes": 0}
    quiet = little | {"sources": [], "down_bytes": 0}
    text = said([little, quiet, DAY | {"down_bytes": 2_000_000, "up_bytes": 1500}], [])
    first, second, today = (line.split("  ") for line in text.splitlines()[1:4])
    assert "< 1 MiB" in [cell.strip() for cell in first]
    assert "0 B" in [cell.strip() for cell in second]
    assert {"2.0 MB", "1.5 kB"} <= {cell.strip() for cell in today}


def test_a_line_nobody_counted_is_told_to_be_limited_all_the_same():
    text = said([], [LIMIT])
    assert "nobody has counted any traffic of c-1" in text
    assert "LIMITED since 2027-01-15" in text
    assert "LIMITED" not in said([DAY], [])


def test_what_is_in_force_and_not_carried_out_is_told_with_the_reason():
    body = {"customer": "c-1", "days": [], "plan": None, "limits": [], "not_done": [LIMIT | {"why": "enforcement is held"}]}
    text = "\n".join(_days(body))
    assert "NOT LIMITED, though nbnet/22-2-4 is in force since 2027-01-15" in text
    assert "enforcement is held" in text
    assert "why: sekisho explain" not in text
