"""What `sekisho lists show` says of all lists at once."""

from __future__ import annotations

from sekisho.cli.verbs_lists import _all_lists, _one_list

FEED = {
    "id": "feed",
    "category": "c2",
    "sealed": False,
    "entries": 5,
    "age": 60.0,
    "fetched": 1.0,
    "stale": False,
    "held": None,
    "error": None,
    "skipped": 0,
    "unkept": 3,
    "kinds": {"rpz-nsdname trigger": 2, "rpz-nsip trigger": 1},
    "matches": 0,
}


def test_triggers_on_name_servers_are_counted_and_named_among_all_lists() -> None:
    whole = FEED | {"id": "whole", "unkept": 0, "kinds": {}}
    head, feed, other, *below = _all_lists([FEED, whole])
    assert "SKIPPED  NOT KEPT" in head
    assert feed.split()[4:6] == ["0", "3"]
    assert other.split()[4:6] == ["0", "0"]
    assert below == ["feed: not kept, and so not applied: rpz-nsdname trigger 2, rpz-nsip trigger 1"]


def test_one_of_a_kind_is_told_as_one() -> None:
    detail = {
        "order": 0,
        "source": "feed.zone",
        "format": "rpz",
        "version": "v",
        "refused": 0,
        "addresses": 1,
        "clients": 1,
        "opted_out": 1,
    }
    one = FEED | detail | {"clauses": [], "faults": [], "exceptions": [], "entries": 3, "skipped": 1}
    told = "\n".join(_one_list(one))
    assert "1 name, 1 prefix looked for in answers, 1 prefix of clients" in told
    assert "opted out  1 customer\n" in told
    assert "1 line skipped" in told
