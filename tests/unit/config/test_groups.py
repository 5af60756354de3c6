"""What is set for a VPN group holds for its members, as far as their own record says nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sekisho.config.groups import with_group
from sekisho.config.settings import Settings, parse_settings
from sekisho.drivers.site import load_site
from sekisho.model.customers import Consent, Customer, Plan
from sekisho.model.errors import ConfigError

MAIN = """\
version: 1
upstream: {address: "127.0.0.1:5300"}
terms: [vectant, gunma]
customers: customers.yaml
"""
GROUP = {
    "representative": "v-1",
    "consent": {"version": "2021-02-01", "at": "2026-04-01"},
    "contacts": {"email": "net@example.com", "language": "en"},
    "plan": {"down_mbps": 100, "up_mbps": 50},
    "sessions": 2,
}
OWN = {
    "consent": {"version": "2020-01-01", "at": "2020-01-02"},
    "contacts": {"email": "own@example.org"},
    "plan": {"down_mbps": 1000, "up_mbps": 1000},
}
CSV = """\
id,terms,consent.version,consent.at,plan,group,contacts.email
v-1,vectant gunma,,,,hq,
v-2,vectant gunma,2020-01-01,2020-01-02,1000/1000,hq,own@example.org
v-3,vectant gunma,,,,,
"""


def settings(groups: object) -> Settings:
    return parse_settings(MAIN + f"groups: {json.dumps(groups)}\n", "sekisho.yaml", Path("/"))


def records() -> list[dict[str, object]]:
    base = {"terms": ["vectant", "gunma"]}
    return [{"id": "v-1", "group": "hq", **base}, {"id": "v-2", "group": "hq", **base, **OWN}, {"id": "v-3", **base}]


@pytest.mark.parametrize("kind", ["yaml", "csv"])
def test_members_have_what_is_set_for_the_group_and_their_own_where_they_have_it(tmp_path: Path, kind: str) -> None:
    customers = CSV if kind == "csv" else json.dumps({"version": 1, "customers": records()})
    (tmp_path / f"customers.{kind}").write_text(customers)
    (tmp_path / "sekisho.yaml").write_text(MAIN.replace("customers.yaml", f"customers.{kind}") + f"groups: {json.dumps({'hq': GROUP})}\n")
    register = load_site(tmp_path / "sekisho.yaml").customers
    first, second, stranger = (register.get(one) for one in ("v-1", "v-2", "v-3"))
    assert first is not None
    assert second is not None
    assert stranger is not None
    assert (first.consent, first.plan) == (Consent("2021-02-01", "2026-04-01"), Plan(100.0, 50.0))
    assert (first.email, first.language) == ("net@example.com", "en")
    assert (second.consent, second.plan) == (Consent("2020-01-01", "2020-01-02"), Plan(1000.0, 1000.0))
    assert (second.email, second.language) == ("own@example.org", "en"), "each by itself"
    assert (stranger.consent, stranger.plan, stranger.email, stranger.language) == (None, None, None, None)
    assert register.with_email("net@example.com") == ["v-1"]
    assert [one for one in register if one.id == "v-1"] == [first]
    agreed = {shared.consent.version if shared.consent else None for shared in register.groups()[1]}
    assert agreed == {"2021-02-01", "2020-01-01", None}, "what the plane's table is loaded by"


def test_the_representative_alone_may_stand_for_the_group() -> None:
    group = settings({"hq": "v-1"}).groups["hq"]
    assert group == settings({"hq": {"representative": "v-1"}}).groups["hq"]
    alone = Customer("v-2", ("gunma",), group="hq")
    assert with_group(alone, {"hq": group}) == alone
    assert with_group(alone, {}) == alone


def test_every_fault_of_a_group_is_told_at_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        settings({"hq": {"consent": {"version": "1"}, "sessions": 0, "plan": {"down_mbps": -1, "up_mbps": 1}, "limit": 3}})
    told = {fault.path for fault in caught.value.faults}
    assert told >= {"groups.hq.representative", "groups.hq.sessions", "groups.hq.consent.at", "groups.hq.plan.down_mbps", "groups.hq.limit"}


def test_a_representative_of_another_group_or_of_none_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "customers.yaml").write_text(json.dumps({"version": 1, "customers": records()}))
    (tmp_path / "sekisho.yaml").write_text(MAIN + "groups: {hq: v-3, branch: nobody-yet}\n")
    nobody, other = [one for one in load_site(tmp_path / "sekisho.yaml").warnings if one.path.startswith("groups")]
    assert "v-3 is to represent group hq and is not in it" in other.message
    assert "nobody-yet is to represent group branch and is not in the customer file" in nobody.message
    assert other.line == nobody.line == MAIN.count("\n") + 1
