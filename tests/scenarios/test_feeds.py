"""Feeds over HTTP that fail, shrink, change and come back, as an operator sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from scenarios.harness.web import Feed, serving
from support import wait_until

pytestmark = pytest.mark.slow


@dataclass
class Fed:
    checkpoint: Checkpoint
    feeds: dict[str, Feed]
    customer: Customer

    def refresh(self, name: str, code: int = 0) -> dict[str, object]:
        one: dict[str, object] = self.checkpoint.sekisho("lists", "refresh", name, code=code)["lists"][0]
        return one

    def show(self, name: str) -> dict[str, object]:
        one: dict[str, object] = self.checkpoint.sekisho("lists", "show", name)["lists"][0]
        return one


IDS = ("failing", "shrinking", "tagged", "large", "bad", "csv", "json", "adblock", "sealed-feed", "coming")


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    feeds = {name: Feed() for name in IDS}
    for name in IDS:
        feeds[name].say([f"n{number}.{name}.example" for number in range(10)])
    feeds["csv"].body = "first,domain,rest\n1,One.csv.example.,x\n2,bücher.csv.example,y\n3,,z\n".encode()
    feeds["json"].body = b'[{"host": "one.json.example"}, {"host": 7}, {"other": "x"}]'
    feeds[
        "adblock"
    ].body = b"! a comment\n||one.adblock.example^\n||two.adblock.example^$third-party\n@@||three.adblock.example^\n##.banner\n"
    feeds["coming"].status = 503
    with serving(feeds) as url:
        own = {
            "csv": {"format": "csv", "column": "domain", "scope": "exact"},
            "json": {"format": "json", "column": "host", "scope": "exact"},
            "adblock": {"format": "adblock", "scope": "subtree"},
            "sealed-feed": {"format": "domains", "scope": "exact", "sealed": True, "source": f"{url}/sealed-feed?token=of-the-operator"},
            "large": {"format": "domains", "scope": "exact", "max_bytes": 4096},
            "tagged": {"format": "domains", "scope": "exact", "refresh": "1s"},
            "coming": {"format": "domains", "scope": "exact", "refresh": "1s"},
        }
        lists = [
            {
                "id": name,
                "category": "c2",
                "source": f"{url}/{name}",
                "refresh": "1h",
                **own.get(name, {"format": "domains", "scope": "exact"}),
            }
            for name in IDS
        ]
        with (
            Resolver().running() as resolver,
            folders(tmp_path_factory.mktemp("feeds")) as (folder, runtime),
            running(write_site(folder, runtime, [resolver.port], lists=lists)) as one,
        ):
            yield Fed(one, feeds, one.customer("gunma"))


def test_a_feed_that_fails_leaves_the_last_good_one_in_force_and_says_so(fed: Fed) -> None:
    assert fed.checkpoint.is_blocked(fed.customer, "n1.failing.example")
    fed.feeds["failing"].status = 500
    one = fed.refresh("failing", code=1)
    assert one["error"]
    assert "500" in str(one["error"])
    assert one["entries"] == 10
    assert fed.checkpoint.is_blocked(fed.customer, "n1.failing.example")
    assert fed.checkpoint.metric("sekisho_list_last_error", list="failing") == 1
    assert fed.checkpoint.metric("sekisho_list_last_error", list="tagged") == 0
    status = next(one for one in fed.checkpoint.sekisho("status")["lists"] if one["id"] == "failing")
    assert status["error"] == one["error"]
    assert "500" in fed.checkpoint.say("status")
    fed.feeds["failing"].say(["new.failing.example", *(f"n{number}.failing.example" for number in range(10))])
    assert fed.refresh("failing")["entries"] == 11
    assert fed.checkpoint.metric("sekisho_list_last_error", list="failing") == 0
    assert fed.checkpoint.is_blocked(fed.customer, "new.failing.example"), "in force when the command returns"


def test_a_feed_that_is_no_list_at_all_is_refused(fed: Fed) -> None:
    """An error page with status 200 must not empty a list."""
    assert fed.checkpoint.is_blocked(fed.customer, "n1.bad.example")
    page = b"<!DOCTYPE html>\n<html><body><h1>It works!</h1></body></html>\n" * 3
    for body in (page, b"", b"\x1f\x8b\x08broken"):
        fed.feeds["bad"].body = body
        fed.checkpoint.run("--config", str(fed.checkpoint.site.config), "lists", "refresh", "bad")
        one = fed.show("bad")
        assert one["error"] or one["held"], body
        assert one["entries"] == 10
    assert fed.checkpoint.is_blocked(fed.customer, "n1.bad.example")


def test_a_feed_that_shrank_is_held_until_an_operator_accepts_it(fed: Fed) -> None:
    assert fed.checkpoint.is_blocked(fed.customer, "n9.shrinking.example")
    fed.feeds["shrinking"].say([f"n{number}.shrinking.example" for number in range(6)])
    one = fed.refresh("shrinking")
    held = one["held"]
    assert isinstance(held, dict)
    assert (held["entries"], round(held["lost"], 2)) == (6, 0.4)
    assert one["entries"] == 10
    assert fed.checkpoint.is_blocked(fed.customer, "n9.shrinking.example")
    assert fed.checkpoint.metric("sekisho_list_held", list="shrinking") == 1
    assert "lists accept shrinking" in fed.checkpoint.say("status")
    accepted = fed.checkpoint.sekisho("lists", "accept", "shrinking")
    assert (accepted["in_force"], accepted["entries"]) == (True, 6)
    assert fed.checkpoint.is_answered(fed.customer, "n9.shrinking.example")
    assert fed.checkpoint.is_blocked(fed.customer, "n5.shrinking.example")
    assert fed.checkpoint.metric("sekisho_list_held", list="shrinking") == 0
    again = fed.checkpoint.sekisho("lists", "accept", "shrinking", code=1)
    assert "no version" in again["error"]


def test_a_feed_that_lost_little_is_taken_as_it_is(fed: Fed) -> None:
    fed.feeds["tagged"].say([f"n{number}.tagged.example" for number in range(8)], tag='"one"')
    assert fed.refresh("tagged")["entries"] == 8
    assert fed.checkpoint.is_answered(fed.customer, "n9.tagged.example")
    # By hand a feed is fetched whole; on its schedule it is asked whether it changed.
    wait_until(lambda: fed.feeds["tagged"].asked[-1] == ('"one"', 304), deadline=30, what="a fetch that sends nothing again")
    assert fed.show("tagged")["entries"] == 8
    fed.feeds["tagged"].say([f"n{number}.tagged.example" for number in range(10)], tag='"two"')
    assert fed.refresh("tagged")["entries"] == 10


def test_a_feed_larger_than_it_may_be_is_refused(fed: Fed) -> None:
    fed.feeds["large"].say([f"n{number}.large.example" for number in range(1000)])
    one = fed.refresh("large", code=1)
    assert "max_bytes" in str(one["error"])
    assert one["entries"] == 10
    fed.feeds["large"].say([f"n{number}.large.example" for number in range(10)])
    assert fed.refresh("large")["error"] is None


def test_tables_are_read_by_their_named_column_and_bad_rows_are_shown(fed: Fed) -> None:
    for name in ("one.csv.example", "xn--bcher-kva.csv.example", "one.json.example"):
        assert fed.checkpoint.is_blocked(fed.customer, name), name
    csv, table = fed.show("csv"), fed.show("json")
    assert (csv["entries"], csv["skipped"]) == (2, 1)
    assert (table["entries"], table["skipped"]) == (1, 2)
    assert any(":4" in str(fault) for fault in csv["faults"])  # type: ignore[attr-defined]


def test_adblock_rules_that_cannot_be_kept_are_counted_and_named(fed: Fed) -> None:
    assert fed.checkpoint.is_blocked(fed.customer, "www.one.adblock.example")
    for name in ("two.adblock.example", "three.adblock.example"):
        assert fed.checkpoint.is_answered(fed.customer, name)
    one = fed.show("adblock")
    assert one["entries"] == 2, "what is blocked, and what is let through"
    assert int(str(one["unkept"])) + int(str(one["skipped"])) == 2
    assert one["kinds"]


def test_a_token_in_the_address_of_a_feed_is_shown_to_nobody(fed: Fed) -> None:
    said = fed.checkpoint.say("lists", "show", "sealed-feed") + fed.checkpoint.say("--json", "status") + fed.checkpoint.log
    assert "of-the-operator" not in said
    assert "sealed-feed" in said


def test_a_feed_that_comes_at_last_is_in_force_by_itself(fed: Fed) -> None:
    """The daemon started without it and goes on asking."""
    assert fed.checkpoint.is_answered(fed.customer, "n1.coming.example")
    assert fed.show("coming")["error"]
    fed.feeds["coming"].status = 200
    wait_until(lambda: fed.checkpoint.is_blocked(fed.customer, "n1.coming.example"), deadline=60, what="the feed in force")
