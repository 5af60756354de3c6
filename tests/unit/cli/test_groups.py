"""What `sekisho group show` says of a group."""

from __future__ import annotations

from sekisho.cli.verbs_groups import _members

MEMBERS = [
    {"customer": "c-1", "is_representative": True, "opted_out": ["c2"], "as_group": ["consent", "plan"]},
    {"customer": "c-2", "is_representative": False, "opted_out": [], "as_group": []},
]
SETTINGS = {
    "consent": {"version": "2021-02-01", "at": "2026-04-01"},
    "email": "net@example.com",
    "language": "en",
    "plan": {"down_mbps": 100.0, "up_mbps": 50.0},
    "sessions": 2,
}


def shown(settings: dict[str, object]) -> list[str]:
    return list(_members({"group": "hq", "representative": "c-1", "opted_out": ["c2"], "settings": settings, "members": MEMBERS}))


def test_what_is_set_for_all_and_who_has_it_from_the_group() -> None:
    lines = shown(SETTINGS)
    assert lines[2:7] == [
        "the group consented to version 2021-02-01 on 2026-04-01",
        "notices go to net@example.com",
        "notices are in en",
        "a line has 100/50 Mbit/s",
        "an ID may be in 2 sessions at the same time",
    ]
    assert [line.split() for line in lines[8:]] == [["c-1", "yes", "c2", "consent", "plan"], ["c-2", "-", "-", "-"]]
    assert len(shown({})) == len(lines) - 5
