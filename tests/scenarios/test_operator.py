"""The operator's commands on a running checkpoint, as a person and as a program, and the mistakes they make."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.conftest import C2, LISTS, SEALED
from scenarios.harness import Checkpoint, Customer
from sekisho.model.verdicts import STEPS
from support import wait_until

pytestmark = pytest.mark.slow

VERDICTS = {"answered", "blocked", "silenced", "limited", "gardened", "refused"}


@pytest.fixture
def customer(field: Checkpoint) -> Customer:
    return field.customer("gunma", "nbnet")


# --- Every verb, in both forms -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "shown", "key"),
    [
        (("check",), "7 lists", "faults"),
        (("status",), "plane      running: 2 workers", "plane"),
        (("optout", "show"), "", "opt_outs"),
        (("optout", "show", "CUSTOMER"), "no opt-outs", "in_force"),
        (("customers", "show"), "CUSTOMER", "customers"),
        (("customers", "show", "CUSTOMER"), "gunma/別記-1", "lists"),
        (("lists", "show"), "c2-sinkhole", "lists"),
        (("lists", "show", "abuse"), "sealed", "lists"),
        (("lists", "refresh", "c2-exact"), "c2-exact", "lists"),
        (("explain", "--customer", "CUSTOMER", "--name", C2[40]), "BLOCKED", "verdict"),
        (("explain", "--address", "127.8.8.8", "--name", C2[40]), "REFUSED", "verdict"),
        (("events",), "", "events"),
        (("completion", "bash"), "_SEKISHO_COMPLETE", "script"),
    ],
)
def test_each_verb_speaks_to_people_and_to_programs(
    field: Checkpoint, customer: Customer, verb: tuple[str, ...], shown: str, key: str
) -> None:
    arguments = [customer.id if word == "CUSTOMER" else word for word in verb]
    said = field.say(*arguments)
    assert shown in said
    assert "Traceback" not in said
    assert key in field.sekisho(*arguments)


@pytest.mark.parametrize("place", range(4))
def test_global_options_stand_before_within_or_after_the_verb(field: Checkpoint, customer: Customer, place: int) -> None:
    words = ["optout", "show", customer.id]
    words[place:place] = ["--config", str(field.site.config), "--json"]
    done = field.run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["customer"] == customer.id


def test_the_configuration_may_come_by_the_environment_and_the_option_goes_before_it(field: Checkpoint) -> None:
    environ = {"SEKISHO_CONFIG": str(field.site.config)}
    assert field.run("status", environ=environ).returncode == 0
    nowhere = {"SEKISHO_CONFIG": "/nonexistent/sekisho.yaml"}
    assert field.run("status", "--config", str(field.site.config), environ=nowhere).returncode == 0
    assert field.run("status", environ=nowhere).returncode == 1


@pytest.mark.parametrize(
    "verb", [(), ("optout",), ("optout", "add"), ("lists", "except"), ("explain",), ("customers", "add"), ("run",), ("check",)]
)
def test_help_teaches(field: Checkpoint, verb: tuple[str, ...]) -> None:
    done = field.run(*verb, "--help")
    assert done.returncode == 0
    assert "sekisho" in done.stdout.partition("\n")[2], "an example, or what to do first"
    assert len(done.stdout.splitlines()) > 8


# --- explain -------------------------------------------------------------------------------------------


def test_explain_tells_the_planes_own_verdict_step_by_step(field: Checkpoint, customer: Customer) -> None:
    for name, verdict, clause, list_id in (
        (C2[41], "blocked", "gunma/別記-1", "c2"),
        (SEALED[41], "blocked", "nbnet/21-1", "abuse"),
        ("www.example.com", "answered", None, None),
        ("pass.tree.policy.example", "answered", "gunma/別記-1", "policy"),
    ):
        found = field.sekisho("explain", "--customer", customer.id, "--name", name)
        assert found["verdict"] in VERDICTS
        assert (found["verdict"], found["clause"], found["list"]) == (verdict, clause, list_id), name
        labels = [one.label for one in STEPS]
        told = [one["label"] for one in found["steps"]]
        assert told == labels[: len(told)], "in the order of enforcement"
        assert [one["decided"] for one in found["steps"]].count(True) == 1
        assert field.is_blocked(customer, name) is (verdict == "blocked"), "what is explained is what is done"


def test_explain_counts_and_records_nothing(field: Checkpoint, customer: Customer) -> None:
    before = field.metric("sekisho_list_matches_total", list="c2"), field.metric("sekisho_queries_total")
    for _ in range(3):
        field.api.post("/v1/explain", customer=customer.id, name=C2[42])
    assert (field.metric("sekisho_list_matches_total", list="c2"), field.metric("sekisho_queries_total")) == before
    assert field.api.get("/v1/events", customer=customer.id)["events"] == []


def test_explain_of_an_address_finds_whose_it_is(field: Checkpoint, customer: Customer) -> None:
    found = field.sekisho("explain", "--address", customer.address, "--name", C2[43], "--type", "HTTPS")
    assert (found["customer"], found["verdict"]) == (customer.id, "blocked")
    nobody = field.sekisho("explain", "--address", "2001:db8:ffff::1", "--name", C2[43])
    assert (nobody["customer"], nobody["verdict"], nobody["clause"]) == (None, "refused", None)
    allowed = field.sekisho("explain", "--address", "127.9.9.9", "--name", C2[43])
    assert (allowed["customer"], allowed["verdict"]) == (None, "answered")


# --- Customers and opt-outs ----------------------------------------------------------------------------


def test_a_customer_of_many_prefixes_is_one_customer(field: Checkpoint) -> None:
    field.sekisho(
        "customers", "add", "many", "--terms", "gunma", "--terms", "nbnet", "--prefix", "127.60.0.0/24", "--prefix", "127.61.0.7",
        "--prefix", "2001:db8:60::/48", "--consent-version", "2021-02-01", "--consent-at", "2026-04-01", "--plan", "1000", "500",
        "--group", "g-1", "--email", "many@example.com",
    )  # fmt: skip
    for address in ("127.60.0.1", "127.60.0.254", "127.61.0.7"):
        assert field.is_blocked(address, C2[44])
    assert field.ask("127.61.0.8", C2[44]).rcode() == 5
    shown = field.sekisho("customers", "show", "many")
    assert (shown["plan"], shown["group"]) == ({"down_mbps": 1000.0, "up_mbps": 500.0}, "g-1")
    field.sekisho("optout", "add", "many", "c2")
    for address in ("127.60.0.1", "127.60.0.254", "127.61.0.7"):
        assert field.is_answered(address, C2[44])
    assert field.sekisho("explain", "--address", "2001:db8:60:1::1", "--name", C2[44])["verdict"] == "answered"
    field.sekisho("customers", "remove", "many")


def test_a_customer_comes_from_a_document_on_standard_input(field: Checkpoint, tmp_path: Path) -> None:
    document = "id: piped\nterms: nbnet\nprefixes: [127.62.0.1]\n"
    assert field.sekisho("customers", "add", stdin=document)["in_force"] is True
    assert field.is_blocked("127.62.0.1", SEALED[45])
    file = tmp_path / "one.yaml"
    file.write_text(document.replace("127.62.0.1", "127.62.0.2"))
    field.sekisho("customers", "add", "--file", str(file), code=1)
    assert field.sekisho("customers", "add", "--file", str(file), "--replace")["replaced"] is True
    assert field.ask("127.62.0.1", SEALED[45]).rcode() == 5
    assert field.is_blocked("127.62.0.2", SEALED[45])
    field.sekisho("customers", "remove", "piped")


def test_an_opt_out_ends_by_itself_when_it_was_said_until_when(field: Checkpoint, customer: Customer) -> None:
    done = field.sekisho("optout", "add", customer.id, "c2", "--until", "3s", "--by", "phone, ticket 4711")
    assert (done["in_force"], done["by"]) == (True, "phone, ticket 4711")
    assert done["until"] > done["since"]
    wait_until(lambda: field.is_blocked(customer, C2[46]), deadline=30, what="the end of the opt-out")
    shown = field.sekisho("optout", "show", customer.id)
    assert shown["in_force"] is False


def test_who_did_it_is_who_the_kernel_says(field: Checkpoint, customer: Customer) -> None:
    """The caller's uid is recorded, whatever --by says."""
    done = field.sekisho("optout", "add", customer.id, "c2")
    assert done["by"] == f"uid:{os.getuid()}({pwd.getpwuid(os.getuid()).pw_name})"


def test_an_opt_out_twice_is_one(field: Checkpoint, customer: Customer) -> None:
    for _ in range(2):
        assert field.sekisho("optout", "add", customer.id, "c2")["in_force"] is True
    assert len(field.sekisho("optout", "show", customer.id)["opt_outs"]) == 1
    field.sekisho("optout", "remove", customer.id, "c2")
    again = field.sekisho("optout", "remove", customer.id, "c2", code=1)
    assert "not opted out" in again["error"]


def test_events_are_newest_first_and_can_be_asked_for(field: Checkpoint, customer: Customer) -> None:
    for name in (C2[47], SEALED[47]):
        assert field.is_blocked(customer, name)
    assert len(field.events(customer, at_least=2)) == 2
    everything = field.sekisho("events", "--limit", "10000")["events"]
    times = [one["at"] for one in everything]
    assert times == sorted(times, reverse=True)
    only = field.sekisho("events", "--customer", customer.id, "--list", "abuse", "--since", "1h")["events"]
    assert [(one["list"], one["name"]) for one in only] == [("abuse", None)]
    assert field.sekisho("events", "--customer", customer.id, "--limit", "1")["events"][0]["at"] == max(
        one["at"] for one in everything if one["customer"] == customer.id
    )
    assert customer.id in field.say("events", "--customer", customer.id)


# --- Mistakes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (("optout", "add", "nobody", "c2"), "no customer nobody"),
        (("optout", "add", "CUSTOMER", "c3"), "no list c3"),
        (("optout", "add", "CUSTOMER", "opinions"), "nothing to opt out of"),
        (("optout", "remove", "CUSTOMER", "c2"), "not opted out"),
        (("optout", "show", "nobody"), "no customer nobody"),
        (("customers", "show", "nobody"), "no customer nobody"),
        (("customers", "remove", "nobody"), "no customer nobody"),
        (("customers", "add", "x", "--terms", "gumma", "--prefix", "127.63.0.1"), "gumma"),
        (("customers", "add", "x", "--terms", "gunma", "--prefix", "not-an-address"), "not-an-address"),
        (("customers", "add", "x", "--terms", "gunma", "--prefix", "ADDRESS"), "overlaps"),
        (("customers", "add", "CUSTOMER", "--terms", "gunma", "--prefix", "127.63.0.2"), "--replace"),
        (("customers", "add", "x", "--terms", "gunma", "--prefix", "127.63.0.3", "--exempt", "nothing/1"), "nothing/1"),
        (("lists", "show", "c3"), "no list c3"),
        (("lists", "refresh", "c3"), "no list c3"),
        (("lists", "accept", "c2"), "no version"),
        (("lists", "except", "c3", "www.example.com"), "no list c3"),
        (("lists", "except", "c2", "no..name"), "no domain name"),
        (("lists", "except", "c2", "never.excepted.example", "--remove"), "no exception"),
        (("explain", "--customer", "nobody", "--name", "www.example.com"), "no customer nobody"),
        (("explain", "--address", "192.0.2", "--name", "www.example.com"), "192.0.2"),
        (("explain", "--customer", "CUSTOMER", "--name", "no..name"), "no domain name"),
        (("explain", "--customer", "CUSTOMER", "--name", "www.example.com", "--type", "NONE-SUCH"), "NONE-SUCH"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(field: Checkpoint, customer: Customer, verb: tuple[str, ...], words: str) -> None:
    """Exit code 1; what is wrong and what to do, for people on standard error and for programs in JSON."""
    arguments = [{"CUSTOMER": customer.id, "ADDRESS": customer.address}.get(word, word) for word in verb]
    refusal = field.sekisho(*arguments, code=1)
    assert words in json.dumps(refusal, ensure_ascii=False)
    assert refusal["error"]
    assert refusal.get("hint")
    done = field.run("--config", str(field.site.config), *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "verb",
    [
        ("optout",),
        ("optout", "add", "c-1"),
        ("optout", "add", "c-1", "c2", "--until", "yesterday"),
        ("no-such-verb",),
        ("status", "--no-such-option"),
        ("explain", "--name", "www.example.com"),
        ("explain", "--customer", "c", "--address", "192.0.2.1", "--name", "www.example.com"),
        ("events", "--limit", "0"),
        ("events", "--since", "some day"),
        ("customers", "add", "c", "--consent-version", "1"),
        ("lists", "except", "c2"),
        ("completion", "tcsh"),
    ],
)
def test_usage_is_exit_code_2(field: Checkpoint, verb: tuple[str, ...]) -> None:
    done = field.run("--config", str(field.site.config), *verb)
    assert (done.returncode, done.stdout if verb != ("optout",) else "") == (2, "")
    assert "Traceback" not in done.stderr


def test_a_daemon_that_does_not_run_is_named_as_the_reason(field: Checkpoint, tmp_path: Path) -> None:
    config = tmp_path / "sekisho.yaml"
    config.write_text("version: 1\nupstream: {address: 127.0.0.1:5300}\nruntime: here\nstate: there\n")
    for verb in (
        ("status",),
        ("optout", "add", "c", "c2"),
        ("events",),
        ("lists", "show"),
        ("explain", "--customer", "c", "--name", "example.com"),
    ):
        done = field.run("--config", str(config), *verb)
        assert (done.returncode, done.stdout) == (1, "")
        assert "not running" in done.stderr
        assert "sekisho run" in done.stderr
        told = field.run("--json", "--config", str(config), *verb)
        assert told.returncode == 1
        assert "not running" in json.loads(told.stdout)["error"]


def test_a_second_checkpoint_on_the_same_state_is_refused(field: Checkpoint) -> None:
    """Two writers would tear the record: the second ends with a sentence and the first goes on."""
    argv = [sys.executable, "-m", "sekisho.app.control", "--config", str(field.site.config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 75
    assert "Traceback" not in done.stderr
    assert field.sekisho("status")["plane"]["running"] is True


def test_status_names_every_list_and_what_is_in_force(field: Checkpoint) -> None:
    body = field.sekisho("status")
    assert [one["id"] for one in body["lists"]] == [one["id"] for one in LISTS]
    assert body["plane"]["epoch"] == body["daemon"]["epoch"]
    assert body["plane"]["workers_alive"] == 2
    clauses = {one["id"]: one["clauses"] for one in body["lists"]}
    assert clauses["opinions"] == []
    said = field.say("status")
    assert all(str(one["id"]) in said for one in LISTS)
