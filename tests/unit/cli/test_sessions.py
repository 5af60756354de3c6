"""What `sekisho sessions show` says in words."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from sekisho.cli import verbs_sessions
from sekisho.cli.main import cli
from sekisho.cli.verbs_sessions import _all

BODY: dict[str, Any] = {
    "live": 1,
    "unknown": 0,
    "listening": ["127.0.0.1:1813"],
    "waiting": 0,
    "unfolded": 0,
    "faults": [],
    "packets": {"bad-secret": {"other": 3}},
    "heard": [{"nas": "bras-1", "at": 1_800_000_000.0}, {"nas": "bras-2", "at": None}],
    "refused": [
        {"nas": "bras-2", "source": "192.0.2.1", "reason": "secret", "why": "its secret differs", "packets": 1200, "last": 1_800_000_000.0},
        {"nas": None, "source": "203.0.113.9", "reason": "no-nas", "why": "no NAS has it", "packets": 1, "last": 1_800_000_000.0},
    ],
    "sessions": [],
    "more": False,
}


def said(**more: object) -> str:
    return "\n".join(_all(BODY | more))


def test_what_is_not_on_disk_yet_is_told_and_the_usual_course_of_the_record_is_not() -> None:
    assert "folded" not in said(unfolded=1)
    assert said(unfolded=1) == said(unfolded=40_000) == said()
    assert "1 fact is not on disk yet" in said(waiting=1)
    assert "1,200 facts are not on disk yet" in said(waiting=1200)
    assert "the record is behind: 50,000 updates are on disk" in said(unfolded=50_000)


def test_nobody_is_told_apart_from_a_customer_without_a_session() -> None:
    gone, quiet = ("\n".join(_all(BODY | {"known": known}, "c-1", nases=False)) for known in (False, True))
    assert "there is no customer c-1 now" in gone
    assert "no session of c-1" in quiet
    assert "c-1" not in said(known=None)


def test_nases_are_named_with_when_they_were_heard_of_and_why_they_are_refused() -> None:
    words = [line.split() for line in said().splitlines()]
    assert ["bras-1", "2027-01-15"] in [line[:2] for line in words]
    assert ["bras-2", "not", "since", "the", "daemon", "started"] in words
    assert ["bras-2", "192.0.2.1", "1,200"] in [line[:3] for line in words]
    assert ["(none)", "203.0.113.9", "1"] in [line[:3] for line in words]
    assert "its secret differs" in said()
    assert "bras-2" not in "\n".join(_all(BODY, nases=False)), "not where one customer is asked for"


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["192.0.2.7:40123", "03:14:07"], ("192.0.2.7", 40123)),
        (["[2001:db8::7]:40123", "03:14:07"], ("2001:db8::7", 40123)),
        (["2001:db8::7", "03:14", "--port", "9"], ("2001:db8::7", 9)),
        (["192.0.2.7:9", "--port", "9"], ("192.0.2.7", 9)),
        (["2001:db8::7"], ("2001:db8::7", None)),
    ],
)
def test_an_address_is_asked_for_as_it_stands_in_a_complaint(monkeypatch: pytest.MonkeyPatch, words: list[str], place: object) -> None:
    asked: list[dict[str, Any]] = []

    class Client:
        def post(self, _: str, **what: Any) -> dict[str, Any]:
            asked.append(what)
            return {"address": "", "port": None, "at": 0.0, "outcome": "unknown", "why": "", "session": None, "claims": []}

    monkeypatch.setattr(verbs_sessions, "client", Client)
    result = CliRunner().invoke(cli, ["sessions", "at", *words])
    assert result.exit_code == 0, result.output
    assert [(one["address"], one.get("port")) for one in asked] == [place]


@pytest.mark.parametrize("words", [["192.0.2.7:9", "--port", "8"], ["192.0.2.7:65536"]])
def test_a_port_told_twice_or_beyond_the_last_is_refused(words: list[str]) -> None:
    result = CliRunner().invoke(cli, ["sessions", "at", *words])
    assert result.exit_code != 0
    assert "port" in result.output
