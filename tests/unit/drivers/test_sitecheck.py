"""What `sekisho check` finds besides the files of a site: secrets that are not there, consents of a day to come."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from sekisho.cli.main import cli
from sekisho.drivers import sitecheck
from sekisho.drivers.site import load_site
from sekisho.drivers.sitecheck import look_round
from sekisho.model.errors import Fault

NOW = dt.datetime(2026, 4, 1, 12, tzinfo=dt.UTC).timestamp()
MAIN = """\
version: 1
upstream: {address: "127.0.0.1:5300"}
state: state
terms: [gunma]
lists: lists.yaml
customers: customers.yaml
radius:
  nas:
    - {id: bras-1, address: 192.0.2.1, secret_file: radius.secret}
coa:
  nas:
    - {id: edge-1, address: 192.0.2.2, vendor: cisco, secret_file: coa.secret}
policy_zones:
  zone: rpz.example
  keys:
    - {name: zones.example, secret_file: zones.key}
"""
LISTS = """\
version: 1
lists:
  - {id: c2, category: c2, source: "192.0.2.3:53", format: axfr, zone: c2.example,
     tsig: {name: feed.example, secret_file: feed.key}}
"""
SECRETS = {"radius.secret": "one", "coa.secret": "two", "zones.key": "c2VjcmV0", "feed.key": "c2VjcmV0"}
LINES = [
    ("lists.yaml", 4, "lists[0].tsig", "feed.key", "feed.example"),
    ("sekisho.yaml", 9, "radius.nas[0].secret_file", "radius.secret", "NAS bras-1"),
    ("sekisho.yaml", 12, "coa.nas[0].secret_file", "coa.secret", "NAS edge-1"),
    ("sekisho.yaml", 16, "policy_zones.keys[0].secret_file", "zones.key", "zones.example"),
]


@pytest.fixture
def site(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "sekisho.yaml").write_text(MAIN)
    (tmp_path / "lists.yaml").write_text(LISTS)
    consents(tmp_path)
    for name, secret in SECRETS.items():
        (tmp_path / name).write_text(secret)
    return tmp_path


def consents(site: Path, **days: str) -> None:
    people = [{"id": name, "terms": ["gunma"], "group": "hq", "consent": {"version": "1", "at": at}} for name, at in days.items()]
    (site / "customers.yaml").write_text(json.dumps({"version": 1, "customers": [*people, {"id": "x", "terms": ["gunma"], "group": "hq"}]}))


def looked(site: Path) -> list[Fault]:
    path = site / "sekisho.yaml"
    return sorted(look_round(load_site(path), path, NOW))


def test_secrets_that_are_there_are_no_matter(site: Path) -> None:
    assert looked(site) == []


def test_each_secret_that_is_not_there_is_told_where_it_is_named(site: Path) -> None:
    for name in SECRETS:
        (site / name).unlink()
    told = looked(site)
    assert [(Path(one.file).name, one.line, one.path) for one in told] == [line[:3] for line in LINES]
    for one, (*_, file, what) in zip(told, LINES, strict=True):
        assert what in one.message
        assert f"there is no file {site / file}; write the secret" in one.message


def test_a_secret_nothing_can_be_made_of_is_told_and_not_shown(site: Path) -> None:
    (site / "radius.secret").write_text("")
    (site / "zones.key").write_text("***mark***")
    keyless, zones = looked(site)
    assert "is empty" in keyless.message
    assert "is not base 64" in zones.message
    assert "mark" not in zones.message


def test_what_this_user_may_not_look_at_is_said_to_be_unknown(site: Path, monkeypatch) -> None:
    opened = Path.open

    def refuse(path: Path, *arguments: object, **named: object) -> object:
        if path.name == "radius.secret":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    (told,) = looked(site)
    assert "could not look" in told.message
    assert "as the daemon's user" in told.message


def test_root_looks_for_the_user_whose_the_state_folder_is(site: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    stranger = os.getuid() + 4711
    monkeypatch.setattr(sitecheck, "_owner", lambda _: (stranger, {os.getgid() + 4711}))
    for name in SECRETS:
        (site / name).chmod(0o604)
    (site / "coa.secret").chmod(0o640)
    (told,) = looked(site)
    assert f"the daemon may not read {site / 'coa.secret'}" in told.message


def test_a_credential_comes_first_and_one_that_only_the_unit_has_could_not_be_looked_at(site: Path, monkeypatch) -> None:
    (site / "sekisho.yaml").write_text(MAIN.replace(", secret_file: radius.secret", ""))
    (told,) = looked(site)
    assert "the systemd credential radius-bras-1" in told.message
    assert "could not be looked at" in told.message
    (site / "radius-bras-1").write_text("one")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(site))
    assert looked(site) == []


def test_a_consent_of_a_time_to_come_is_told_with_its_line(site: Path) -> None:
    consents(site, a="2026-04-01", b="2026-04-03", c="2026-04-01T11:00:00+00:00", d="2026-04-01T13:00:00+00:00", e="9999-12-31T23:59:59")
    told = looked(site)
    assert {one.message.partition(",")[0] for one in told} == {
        f"consent was given on {at}" for at in ("2026-04-03", "2026-04-01T13:00:00+00:00", "9999-12-31T23:59:59")
    }
    assert len(told) == 3
    assert all(one.path == "consent" and Path(one.file).name == "customers.yaml" and one.line for one in told)


def test_a_consent_of_a_group_is_told_of_the_group_and_not_of_each_member(site: Path) -> None:
    (site / "sekisho.yaml").write_text(MAIN + "groups:\n  hq: {representative: x, consent: {version: 1, at: 2026-05-01}}\n")
    (told,) = looked(site)
    assert (told.path, told.line) == ("groups.hq.consent.at", MAIN.count("\n") + 2)


def test_a_resolver_that_learns_of_a_change_at_its_next_refresh_is_told(site: Path) -> None:
    others = """\
  secondaries:
    - {id: told, address: 192.0.2.53, key: zones.example, notify: "192.0.2.53:53"}
    - {id: late, address: 192.0.2.54, key: zones.example, resolver: bind}
    - {id: asking, address: 192.0.2.55, key: zones.example, resolver: recursor}
"""
    (site / "sekisho.yaml").write_text(MAIN + others)
    (told,) = looked(site)
    assert (told.path, told.line) == ("policy_zones.secondaries[1]", MAIN.count("\n") + 3)
    assert "late has no `notify`" in told.message
    assert "up to 60 seconds later" in told.message


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ("dnstap: {socket: /run/d.sock, count: responses}\n", True),
        ("dnstap: {socket: /run/d.sock}\n", False),
        ("dnstap: {socket: /run/d.sock, count: responses}\nmeasures: {mode: enforce, clauses: {nbnet/22-2-5: observe}}\n", False),
        ("dnstap: {socket: /run/d.sock, count: responses}\nlines: {mode: enforce, shaping: false}\n", False),
    ],
)
def test_a_measure_whose_end_nobody_could_tell_is_told(site: Path, more: str, warned: bool) -> None:
    document = MAIN.replace("[gunma]", "[gunma, nbnet]") + ("" if "measures:" in more else "measures: {mode: enforce}\n") + more
    (site / "sekisho.yaml").write_text(document)
    told = looked(site)
    assert [(one.path, "under nbnet/22-2-5 no answer is told" in one.message) for one in told] == [("dnstap.count", True)] * warned


def test_queries_that_two_tell_of_are_told(site: Path) -> None:
    lines = "lines: {shaping: false, resolvers: 192.0.2.53, queries: true}\n"
    (site / "sekisho.yaml").write_text(MAIN + lines)
    assert looked(site) == []
    (site / "sekisho.yaml").write_text(MAIN + lines + "dnstap: {socket: /run/d.sock}\n")
    (told,) = looked(site)
    assert told.path == "lines.queries"
    assert "counted twice" in told.message


def test_check_goes_on_and_warns(site: Path) -> None:
    (site / "radius.secret").unlink()
    done = CliRunner().invoke(cli, ["--config", str(site / "sekisho.yaml"), "--json", "check"])
    assert done.exit_code == 0
    (told,) = [one for one in json.loads(done.stdout)["warnings"] if one["path"].startswith("radius")]
    assert (told["line"], told["path"]) == (9, "radius.nas[0].secret_file")
