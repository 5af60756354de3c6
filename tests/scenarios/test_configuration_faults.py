"""A configuration full of mistakes: every one is told at once, with file and line, by whatever reads it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.harness import Resolver, folders, running, write_site
from scenarios.harness.checkpoint import PLANE, command
from sekisho.app.exitcodes import REFUSED

pytestmark = pytest.mark.slow

MAIN = """\
version: 1
listen: ["127.0.0.1:5399"]
listen: ["127.0.0.1:5398"]
upstream: {address: "127.0.0.1:5300", retries: 3}
runtime: run
state: state
terms: [gunma, nbnett, ./own.yaml]
lists: lists.yaml
customers: customers.yaml
colour: blue
workers: many
"""
LISTS = """\
version: 1
lists:
  - {id: c2, category: c2, source: c2.txt, format: domains}
  - {id: c2, category: c2, source: c2.txt, format: domains, scope: exact}
  - {id: other, category: c2, source: c2.txt, format: spreadsheet, scope: exact}
  - {id: zone, category: c2, source: zone.rpz, format: rpz, scope: exact, answer: nxdomain}
"""
CUSTOMERS = """\
version: 1
customers:
  - {id: a, terms: gunma, prefixes: [192.0.2.0/24]}
  - {id: b, terms: gunma, prefixes: [192.0.2.128/25]}
  - {id: c, terms: [gunma, unheard-of], prefixes: [198.51.100.1]}
  - {id: d, terms: gunma, prefixes: [198.51.100.1/24], exempt: [no-such-list]}
  - {id: a, terms: nbnet, prefixes: [203.0.113.1]}
"""
OWN = """\
version: 1
pack: own
document: {title: T, operator: O, version: 2026-01-01}
clauses:
  - {id: own/1, article: "1", ja: あ, en: a, rules: [{kind: dns-blok}]}
  - {id: elsewhere/2, article: "2", ja: あ, en: a}
"""


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    for name, text in (
        ("sekisho.yaml", MAIN),
        ("lists.yaml", LISTS),
        ("customers.yaml", CUSTOMERS),
        ("own.yaml", OWN),
        ("c2.txt", "x.example\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / "sekisho.yaml"


EXPECTED = [
    ("sekisho.yaml", 3, "listen"),
    ("sekisho.yaml", 4, "retries"),
    ("sekisho.yaml", 7, "nbnett"),
    ("sekisho.yaml", 10, "colour"),
    ("sekisho.yaml", 11, "many"),
    ("lists.yaml", 3, "scope"),
    ("lists.yaml", 4, "c2"),
    ("lists.yaml", 5, "spreadsheet"),
    ("lists.yaml", 6, "scope"),
    ("customers.yaml", 4, "192.0.2"),
    ("customers.yaml", 5, "unheard-of"),
    ("customers.yaml", 6, "no-such-list"),
    ("customers.yaml", 7, "a"),
    ("own.yaml", 5, "dns-blok"),
    ("own.yaml", 6, "elsewhere/2"),
]


def test_check_tells_every_fault_of_every_file_with_its_line(broken: Path) -> None:
    done = command("--config", str(broken), "check")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = [re.match(r"(?:.*/)?([a-z0-9]+\.yaml):(\d+): (.*)", line) for line in done.stderr.splitlines()]
    faults = [(one[1], int(one[2]), one[3]) for one in told if one]
    for file, line, word in EXPECTED:
        found = [message for where, number, message in faults if (where, number) == (file, line)]
        assert any(word in message for message in found), f"{file}:{line} says nothing of {word}:\n{done.stderr}"
    body = json.loads(command("--config", str(broken), "--json", "check").stdout)
    assert body["ok"] is False
    assert len(body["faults"]) == len(faults)
    assert all(one["message"] and one["file"] for one in body["faults"])


@pytest.mark.parametrize("argv", [("-m", "sekisho.cli.main", "run"), ("-m", "sekisho.app.control")])
def test_nothing_starts_on_it_and_the_same_faults_are_told(broken: Path, argv: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, *argv, "--config", str(broken)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == REFUSED
    assert "Traceback" not in done.stderr
    for file, line, _ in EXPECTED:
        assert f"{file}:{line}: " in done.stderr


@pytest.mark.parametrize(
    "text", ["", "{", "version: 2\n", "- 1\n", "\x00", "upstream: &a [*a]\n", "version: 1\nupstream: {address: [1, 2]}\n"]
)
def test_whatever_stands_in_the_main_file_is_a_fault_and_no_failure(tmp_path: Path, text: str) -> None:
    config = tmp_path / "sekisho.yaml"
    config.write_text(text)
    for verb, code in (("check", 1), ("run", REFUSED)):
        done = command("--config", str(config), verb)
        assert (done.returncode, done.stdout) == (code, "")
        assert "sekisho.yaml" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_missing_main_file_is_named(tmp_path: Path) -> None:
    for verb, code in (("check", 1), ("run", REFUSED), ("status", 1)):
        done = command("--config", str(tmp_path / "none.yaml"), verb)
        assert done.returncode == code
        assert "none.yaml" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said_to_be(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "sekisho.yaml"
        config.write_text(
            f'version: 1\nlisten: ["127.0.0.1:{port}"]\nupstream: {{address: "127.0.0.1:5300"}}\nruntime: run\nstate: state\n'
        )
        done = command("--config", str(config), "run")
        assert done.returncode == 75, "what may pass: a unit tries it again"
        assert str(port) in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reload_with_faults_leaves_what_was_in_force_and_a_good_one_takes_over(tmp_path_factory: pytest.TempPathFactory) -> None:
    lists = [{"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"}]
    consent = {"version": "2021-02-01", "at": "2024-04-01"}
    people = [{"id": "a", "terms": "gunma", "prefixes": ["127.40.0.1"], "consent": consent}]
    with Resolver().running() as resolver, folders(tmp_path_factory.mktemp("reload")) as (folder, runtime):
        site = write_site(folder, runtime, [resolver.port], lists=lists, sources={"c2.txt": "listed.example\n"}, customers=people)
        with running(site) as one:
            good = site.config.read_text()
            site.edit(colour="blue", terms=["gunma", "nbnett"])
            refusal = one.sekisho("reload", code=1)
            assert {"colour", "nbnett"} <= {word for fault in refusal["faults"] for word in re.findall(r"\w+", str(fault))}
            assert one.sekisho("status")["daemon"]["reload"]["failed"] is True
            assert "REFUSED" in one.say("status")
            assert one.is_blocked("127.40.0.1", "listed.example")
            site.config.write_text(good)
            people.append({"id": "b", "terms": "gunma", "prefixes": ["127.40.0.2"], "consent": consent})
            (folder / "customers.yaml").write_text(json.dumps({"version": 1, "customers": people}))
            (folder / "c2.txt").write_text("listed.example\nnew.example\n")
            done = one.sekisho("reload")
            assert done["customers"] == 2
            for name in ("listed.example", "new.example"):
                for address in ("127.40.0.1", "127.40.0.2"):
                    assert one.is_blocked(address, name)
            assert one.sekisho("status")["daemon"]["reload"]["failed"] is False
            # A list the file no longer names, and a contract that ended, take their measures along.
            (folder / "lists.yaml").write_text(json.dumps({"version": 1, "lists": []}))
            one.sekisho("reload")
            assert one.is_answered("127.40.0.1", "listed.example")


def test_what_waits_for_the_planes_next_start_is_told_until_that(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        Resolver().running() as resolver,
        folders(tmp_path_factory.mktemp("restart")) as (folder, runtime),
        running(write_site(folder, runtime, [resolver.port])) as one,
    ):
        one.site.edit(busy_poll="1us")
        assert [one.sekisho("reload")["restart"] for _ in range(2)] == [["busy_poll"]] * 2
        one.wait_ready(PLANE, one.kill(PLANE) + 1)
        assert one.sekisho("reload")["restart"] == []
