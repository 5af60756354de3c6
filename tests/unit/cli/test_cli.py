"""The command line: options anywhere, exit codes, and answers people and programs can read."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading

import click
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from sekisho.api.application import application
from sekisho.api.server import listen, server
from sekisho.cli import verbs_verdicts
from sekisho.cli.main import cli
from sekisho.model.errors import RefusedError
from sekisho.model.roles import Roles

SEALED = "sealed-mark.example"

LIST = {
    "id": "c2",
    "order": 0,
    "category": "c2",
    "format": "domains",
    "source": "/feeds/c2.txt",
    "sealed": False,
    "entries": 1234567,
    "version": "abc",
    "fetched": 1_700_000_000.0,
    "age": 60.0,
    "stale": False,
    "held": None,
    "error": None,
    "skipped": 2,
    "refused": 1,
    "kinds": {},
    "addresses": 0,
    "clients": 0,
    "unkept": 0,
    "faults": ["c2.txt:3: it has an empty label"],
    "matches": 5,
    "opted_out": 1,
    "unconsented": 0,
    "excepted": 1,
    "clauses": ["gunma/別記-1"],
    "exceptions": [{"entry": "ab" * 16, "name": "www.example.com", "subtree": False, "reason": "\x1b[2Jclear"}],
}
HELD = LIST | {"id": "held", "held": {"entries": 10, "lost": 0.9, "version": "def"}, "error": "no route; check it", "stale": True}
STATUS = {
    "daemon": {
        "version": "0.1.0", "pid": 1, "started": 1_700_000_000.0, "uptime": 61.0, "config": "sekisho.yaml", "loaded": 1_700_000_000.0,
        "epoch": 3, "built": None, "build_seconds": 0.1, "reload": {"at": 0.0, "failed": False, "faults": []},
    },
    "plane": {"running": False, "workers_alive": 0, "workers": 2, "worker_restarts": 0, "epoch": 0, "queries": 0},
    "customers": {"known": 3, "opted_out": 1, "unconsented": 0},
    "ledger": {"acts": 7},
    "measures": {"mode": "observe", "open": {"in-force": 2}, "enforced": 0, "held": False, "emergency": False},
    "sinks": [
        {
            "id": "desk",
            "kind": "webhook",
            "to": "https://desk.example/hooks",
            "number": 1,
            "behind": 6,
            "behind_seconds": 7200.0,
            "taken": 4,
            "failures": 3,
            "passed_over": 0,
            "error": "https://desk.example/hooks answered with status 503; it has to answer 2xx to take an event",
            "failing_since": 1_700_000_000.0,
        },
    ],
    "matches": {"lost": 0},
    "lists": [LIST, HELD],
    "warnings": [],
}  # fmt: skip
REACH = {"list": "c2", "in_force": False, "clause": "gunma/別記-1", "mandatory": False, "reason": "opted out since 2026 by phone"}
MEASURES = {
    "silenced": False,
    "garden": True,
    "budget": {"rate": 5, "burst": 10},
    "rate": None,
    "mail": None,
    "clauses": ["nbnet/22-1", "nbnet/22-2-5"],
}
EXPLAINED = {
    "verdict": "blocked", "step": "entitled", "customer": "c-1", "address": "192.0.2.1", "list": "c2", "clause": "gunma/別記-1",
    "summary": "List c2 holds the name.", "answer_lists": ["c2\x1b[2J"],
    "clause_words": {"id": "gunma/別記-1", "article": "別記 1", "title": "Gunma", "version": "1", "ja": "遮断します", "en": "cut off"},
    "steps": [{"step": 6, "label": "entitled", "question": "Does a list hold it?", "outcome": "yes", "decided": True}],
    "lists": [REACH], "measures": MEASURES,
}  # fmt: skip
CUSTOMER = {
    "id": "c-1", "source": "customer file", "terms": ["gunma"], "consent": {"version": "1", "at": "2026-04-01"}, "prefixes": ["192.0.2.1/32"],
    "group": None, "exempt": [], "plan": None, "contacts": {}, "budget": {"clause": "gunma/19-2", "rate": 100, "burst": 200, "over": "drop"},
    "lists": [REACH], "measures": MEASURES,
}  # fmt: skip
EVENT = {
    "at": 1_700_000_000.0, "customer": "c-1", "clause": "gunma/別記-1", "list": "c2", "entry": "ab" * 16, "name": None,
    "action": "nxdomain", "count": 3,
}  # fmt: skip
STANDING = {
    "customer": "c-1", "detector": "dns-overload", "at": 1_700_000_010.0, "found": True, "over": True, "since": 1_700_000_000.0,
    "calm_windows": 0, "clauses": [{"id": "nbnet/22-2-5", "article": "第22条", "title": "T", "version": "1", "ja": "応答しない", "en": "silence"}],
    "evidence": {"rate": 5123.4, "limit": 200.0, "active": 12000, "pattern": "random-subdomain", "new_name_share": 0.97},
    "load": {"utilisation": {"figure": 0.93, "value": 0.8, "holds": True}, "latency": {"figure": None, "value": None, "holds": False}},
    "settings": {}, "summary": "The condition of nbnet/22-2-5 is there.\x1b[2J",
}  # fmt: skip
OPT_OUT = {"customer": "c-1", "list": "c2", "in_force": True, "since": 1.0, "until": None, "by": "phone"}
HOLD = {"since": 1.0, "by": "root", "reason": "drill"}
MEASURE = {
    "id": "m-1", "customer": "c-1", "clause": "nbnet/22-2-5", "detector": "dns-overload", "state": "in-force", "cause": "condition",
    "since": 1.0, "opened_at": 1.0, "enforced_at": 1.0, "until": None, "condition_at": 1.0, "gone_at": None, "observe": True,
    "urgent": True, "extensions": 0, "termination_eligible": True, "evidence": {"rate": 900}, "reason": "\x1b[2Jticket", "enforced": False,
    "held": False, "waits_for": "the condition to end", "next": None,
    "rule": {"ground": "dns-overload", "effect": "silence", "extent": "partial", "notice": "before", "fees_continue": True,
             "termination_clause": "nbnet/26-1"},
}  # fmt: skip
STEP = {
    "number": 1, "at": 1.0, "actor": "sekishod", "kind": "measure-opened", "state": "found", "cause": "", "until": None, "reason": "",
    "occasion": "before", "observe": True,
}  # fmt: skip
EXEMPTION = {"customer": "c-2", "clause": "nbnet/22-2-5", "reason": "a school", "by": "root", "since": 1.0, "until": None, "in_force": True}
EMERGENCY = {
    "emergency": {"clauses": ["gunma/19-1"], "since": 1.0, "until": 2.0, "priority": ["hospitals"], "by": "root", "reason": "earthquake"},
    "observed": ["gunma/19-1"], "limited": 0, "held": True,
}  # fmt: skip
OUTAGE = {
    "id": "o-1", "since": 1.0, "until": None, "affected": ["gunma"], "reason": "fibre cut", "known": 1.0, "open": True, "length": 90000.0,
    "affected_customers": 2, "without_fee": 1, "total_yen": 200, "more": True,
    "credits": [{"customer": "c-6", "fee": {"monthly": 6000}, "yen": 200,
                 "credits": [{"clause": "gunma/30", "yen": 200, "units": 2, "claim_by": 3.0}]}],
}  # fmt: skip
INTERRUPTION = {
    "id": "i-1", "what": "maintenance", "packs": ["vectant"], "since": 1.0, "until": None, "announced_at": 0.5, "urgent": False,
    "reason": "routers",
}  # fmt: skip
ANSWERS = {
    "status": STATUS,
    "add_opt_out": OPT_OUT | {"clause": "gunma/別記-1", "number": 1},
    "remove_opt_out": OPT_OUT | {"in_force": False, "reach": "the list is in force for them again"},
    "show_opt_outs": {"customer": "c-1", "list": None, "in_force": True, "opt_outs": [OPT_OUT], "more": False},
    "show_customers": {"known": 3, "more": True, "customers": [CUSTOMER]},
    "show_customer": CUSTOMER,
    "add_customer": {"customer": "c-9", "in_force": True, "replaced": False, "number": 2},
    "remove_customer": {"customer": "c-9", "in_force": True, "number": 3},
    "show_lists": {"lists": [LIST]},
    "refresh_lists": {"lists": [HELD]},
    "accept_list": {"list": "c2", "entries": 10, "in_force": True},
    "add_exception": {"list": "c2", "entry": "ab" * 16, "subtree": False, "held": False, "in_force": True, "number": 4},
    "remove_exception": {"list": "c2", "entry": "ab" * 16, "in_force": True, "number": 5},
    "explain": EXPLAINED,
    "explain_measure": STANDING,
    "events": {"events": [EVENT]},
    "show_measures": {"mode": "enforce", "held": HOLD, "measures": [MEASURE], "more": True, "exemptions": [EXEMPTION]},
    "show_measure": MEASURE | {"steps": [STEP]},
    "suspend": MEASURE,
    "lift_measure": MEASURE | {"state": "lifted", "cause": "operator"},
    "dismiss_measure": MEASURE | {"state": "dismissed", "cause": "operator"},
    "correct_measure": MEASURE | {"state": "ending", "until": 1_700_000_600.0},
    "extend_measure": MEASURE,
    "deliver_notice": MEASURE | {"state": "noticed", "until": None, "waits_for": "its time"},
    "exempt": {"customer": "c-1", "clause": "nbnet/22-2-5", "until": None, "reason": "x", "in_force": True, "number": 9},
    "unexempt": {"customer": "c-1", "clause": "nbnet/22-2-5", "in_force": False, "number": 10},
    "hold": {"held": True, "since": 1.0, "by": "root", "reason": "drill", "number": 11},
    "resume": {"held": False, "customers": 2, "number": 12},
    "show_emergency": EMERGENCY,
    "start_emergency": EMERGENCY | {"number": 13},
    "end_emergency": {"emergency": None, "number": 14},
    "show_outages": {"outages": [OUTAGE], "interruptions": [INTERRUPTION]},
    "show_outage": OUTAGE,
    "open_outage": OUTAGE,
    "close_outage": OUTAGE,
    "announce": INTERRUPTION
    | {"clauses": [{"clause": "vectant/17", "latest": 1.0, "in_time": True, "excused": False, "pack": "vectant"}], "number": 15},
    "show_notices": {
        "notices": [
            {
                "notice": "n-1",
                "customer": "c-1",
                "about": "m-1",
                "clause": "gunma/17",
                "occasion": "before",
                "channel": "email",
                "address": "c-1@example.com",
                "state": "sent",
                "queued": 1.0,
                "since": 2.0,
                "attempts": 2,
                "unconfirmed": True,
                "next": None,
                "deemed": 2.0,
                "told_by": None,
                "detail": "",
            }
        ],
        "more": True,
        "unreachable": [{"customer": "c-2", "address": "c-2@example.com", "since": 1.0, "detail": "550 \x1b[2J"}],
    },
    "bounced": {"bounced": [{"customer": "c-1", "notice": "n-1", "known": False}, {"customer": None, "notice": None, "known": False}]},
    "show_calls": {
        "calls": [
            {
                "call": "a-1",
                "customer": "c-1",
                "clause": "gunma/38",
                "address": "192.0.2.1",
                "port": None,
                "at": 1.0,
                "report": "r-1",
                "opened": 1.0,
                "state": "sent",
                "since": 2.0,
                "reason": "",
            }
        ],
        "more": False,
    },
    "answer_call": {"call": "a-1", "customer": "c-1", "state": "answered", "number": 6},
    "close_call": {"call": "a-1", "customer": "c-1", "state": "closed", "number": 7},
    "import_report": {
        "report": "r-1",
        "clause": "gunma/38",
        "lines": [
            {"line": 2, "address": "192.0.2.1", "at": 1.0, "port": None, "outcome": "opened", "call": "a-1", "customer": "c-1", "why": ""},
            {
                "line": 3,
                "address": "192.0.2.9",
                "at": 1.0,
                "port": 1,
                "outcome": "unknown",
                "call": None,
                "customer": None,
                "why": "nobody",
            },
        ],
    },
    "reload": {"lists": ["c2"], "customers": 3, "epoch": 4, "restart": ["listen"], "warnings": ["nothing"]},
}


class Daemon:
    """A daemon's API in a thread, with canned answers."""

    def __init__(self, folder):
        self.config = folder / "sekisho.yaml"
        self.config.write_text("version: 1\nruntime: run\n")
        (folder / "run").mkdir()
        self.calls = []
        self.error = None
        self.socket = listen(folder / "run" / "sekishod.sock")
        self.server = server(application(self, lambda: Roles(os.getuid())))
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve([self.socket])))
        self.thread.start()

    def __getattr__(self, name):
        if name not in ANSWERS:
            raise AttributeError(name)

        async def operation(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            if self.error is not None:
                raise self.error
            return ANSWERS[name]

        return operation

    def close(self):
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def daemon(tmp_path):
    # A daemon logs to a stream of its own, and not to the command's.
    with capture_logs():
        running = Daemon(tmp_path)
        yield running
        running.close()


def sekisho(*arguments, config=None, **more):
    return CliRunner().invoke(cli, [*(["--config", str(config)] if config else []), *arguments], **more)


@pytest.mark.parametrize(
    "place",
    [
        lambda c: ["--config", c, "--json", "optout", "add", "c-1", "c2"],
        lambda c: ["optout", "--config", c, "add", "--json", "c-1", "c2"],
        lambda c: ["optout", "--json", "add", "c-1", "c2", "--config", c],
        lambda c: ["optout", "add", "c-1", f"--config={c}", "c2", "--json"],
    ],
)
def test_global_options_stand_before_or_after_the_verb(daemon, place):
    result = CliRunner().invoke(cli, place(str(daemon.config)))
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["in_force"] is True


def test_the_configuration_comes_from_the_environment(daemon):
    result = CliRunner().invoke(cli, ["status"], env={"SEKISHO_CONFIG": str(daemon.config)})
    assert result.exit_code == 0


def test_the_option_goes_before_the_environment(daemon):
    result = CliRunner().invoke(cli, ["status", "--config", str(daemon.config)], env={"SEKISHO_CONFIG": "/nonexistent.yaml"})
    assert result.exit_code == 0


def test_the_working_folder_is_looked_into(daemon, monkeypatch):
    monkeypatch.delenv("SEKISHO_CONFIG", raising=False)
    monkeypatch.chdir(daemon.config.parent)
    assert CliRunner().invoke(cli, ["status"]).exit_code == 0


def test_status_says_that_no_plane_answers(daemon):
    result = sekisho("status", config=daemon.config)
    assert "plane not running" in result.output
    assert "held" in result.output
    assert "1,234,567" in result.output
    assert "sekisho lists accept held" in result.output


def test_status_says_how_far_behind_each_sink_is_and_why(daemon):
    output = sekisho("status", config=daemon.config).output
    assert "desk: webhook to https://desk.example/hooks, 6 behind (2h), 4 told since the start" in output
    assert "status 503" in output
    assert "FAILING since 2023-11-1" in output


def test_a_refusal_is_exit_code_1_with_what_to_do(daemon):
    daemon.error = RefusedError("clause nbnet/21-1 lets nobody opt out; use except")
    result = sekisho("optout", "add", "c-1", "csam", config=daemon.config)
    assert result.exit_code == 1
    assert "nbnet/21-1" in result.stderr
    assert "use except" in result.stderr
    told = sekisho("optout", "add", "c-1", "csam", "--json", config=daemon.config)
    assert told.exit_code == 1
    assert json.loads(told.stdout) == {"error": "clause nbnet/21-1 lets nobody opt out", "hint": "use except"}


def test_a_daemon_that_is_not_there_is_told_and_how_to_start_it(tmp_path):
    (tmp_path / "sekisho.yaml").write_text("version: 1\nruntime: run\n")
    result = sekisho("status", config=tmp_path / "sekisho.yaml")
    assert result.exit_code == 1
    assert "not running" in result.stderr
    assert "sekisho run" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["optout", "add", "c-1"],
        ["optout", "add", "c-1", "c2", "--until", "soon"],
        ["nosuchverb"],
        ["explain", "--name", "www.example.com"],
        ["explain", "--address", "192.0.2.1"],
        ["explain", "--measure"],
        ["explain", "--measure", "--customer", "c-1", "--name", "www.example.com"],
        ["explain", "--measure", "--customer", "c-1", "--address", "192.0.2.1"],
        ["explain", "--customer", "c-1", "--address", "192.0.2.1", "--name", "www.example.com"],
        ["events", "--limit", "0"],
        ["customers", "add", "c-1", "--consent-version", "1"],
        ["customers", "add", "c-1", "--file", "x.yaml"],
        ["customers", "add", "--file", "/nonexistent.yaml"],
        ["lists", "except", "c2", "www.example.com", "--remove", "--subtree"],
        ["completion", "tcsh"],
        ["status", "extra"],
    ],
)
def test_usage_is_exit_code_2(daemon, arguments):
    result = sekisho(*arguments, config=daemon.config)
    assert result.exit_code == 2
    assert daemon.calls == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["optout", "add", "c-1", "c2", "--until", "7d", "--by", "phone"], "in force now"),
        (["optout", "remove", "c-1", "c2"], "no longer opted out"),
        (["optout", "show", "c-1"], "for good"),
        (["optout", "show"], "phone"),
        (["customers", "show"], "--after c-1"),
        (["customers", "show", "c-1"], "opted out since 2026"),
        (
            ["customers", "show", "c-1"],
            "suspended, names lead to the notice page; at most 5 queries/s, burst 10 (nbnet/22-1, nbnet/22-2-5)",
        ),
        (["customers", "add", "c-9", "--terms", "gunma", "--prefix", "192.0.2.9", "--plan", "100", "10"], "added c-9"),
        (["customers", "remove", "c-9"], "removed c-9"),
        (["lists", "show"], "1,234,567"),
        (["lists", "show", "c2"], "it has an empty label"),
        (["lists", "accept", "c2"], "accepted"),
        (
            ["lists", "except", "c2", "www.example.com", "--subtree", "--reason", "over-blocked"],
            "lets the name and what is below it through",
        ),
        (["lists", "except", "c2", "www.example.com", "--remove"], "taken back"),
        (["explain", "--customer", "c-1", "--name", "www.example.com"], "遮断します"),
        (["explain", "--customer", "c-1", "--name", "www.example.com"], "(nbnet/22-1, nbnet/22-2-5)"),
        (["explain", "--customer", "c-1", "--measure"], "5,123.4"),
        (["explain", "--customer", "c-1", "--measure"], "pattern: random-subdomain"),
        (["explain", "--customer", "c-1", "--measure"], "FOUND since 2023-11-1"),
        (["events", "--since", "1h", "--list", "c2"], "nxdomain"),
        (["measures", "list"], "enforcement is HELD"),
        (["measures", "list", "c-1", "--closed", "--clause", "nbnet/22-2-5"], "in-force (observed)"),
        (["measures", "show", "m-1"], "the contract may be terminated under nbnet/26-1; nothing is done about it"),
        (["measures", "lift", "m-1", "--reason", "x"], "is lifted (operator)"),
        (["measures", "dismiss", "m-1", "--reason", "x"], "is dismissed (operator)"),
        (["measures", "corrected", "m-1", "--reason", "x"], "is ending, observed only"),
        (["measures", "extend", "m-1", "--until", "7d", "--reason", "x"], "observed only: nothing is done"),
        (["measures", "delivered", "m-1"], "waits for its time"),
        (["measures", "exempt", "c-1", "nbnet/22-2-5", "--reason", "a school"], "exempt from nbnet/22-2-5, for good"),
        (["measures", "unexempt", "c-1", "nbnet/22-2-5"], "no longer exempt"),
        (["suspend", "c-1", "--clause", "nbnet/22-1", "--reason", "x", "--urgent"], "measure m-1 of c-1"),
        (["hold", "--reason", "drill"], "no measure is enforced"),
        (["resume"], "done now: 2"),
        (["emergency", "start", "--until", "12h", "--priority", "hospitals", "--reason", "earthquake"], "limits nobody"),
        (["emergency", "show"], "hospitals"),
        (["emergency", "end"], "is over"),
        (["outage", "open", "gunma", "--since", "30m", "--reason", "fibre cut"], "2 customers are affected"),
        (["outage", "close", "o-1"], "200 yen in all"),
        (["outage", "show", "o-1"], "--after c-6"),
        (["outage", "show"], "maintenance"),
        (["announce", "maintenance", "--from", "14d", "--reason", "routers"], "vectant/17: in time"),
        (["status"], "2 in-force; observed only"),
        (["reload"], "takes effect at the next start"),
    ],
)
def test_every_verb_answers_readably_and_in_json(daemon, arguments, said):
    result = sekisho(*arguments, config=daemon.config)
    assert result.exit_code == 0, result.output
    assert said in result.output
    assert "\x1b" not in result.output
    told = sekisho(*arguments, "--json", config=daemon.config)
    assert json.loads(told.output) in ANSWERS.values()


def test_a_refresh_that_failed_is_exit_code_1(daemon):
    assert sekisho("lists", "refresh", config=daemon.config).exit_code == 1


def test_options_of_a_customer_become_its_record(daemon):
    sekisho(
        "customers", "add", "c-9", "--terms", "gunma", "--terms", "nbnet", "--prefix", "192.0.2.9", "--consent-version", "2021.10",
        "--consent-at", "2026-04-01", "--exempt", "c2", "--email", "a@example.com", "--group", "g", "--replace", config=daemon.config,
    )  # fmt: skip
    (_, (record,), kwargs) = daemon.calls[0]
    assert record == {
        "id": "c-9",
        "terms": ["gunma", "nbnet"],
        "prefixes": ["192.0.2.9"],
        "consent": {"version": "2021.10", "at": "2026-04-01"},
        "exempt": ["c2"],
        "contacts": {"email": "a@example.com"},
        "group": "g",
    }
    assert kwargs["replace"] is True


def test_several_terms_and_prefixes_may_stand_in_one_option(daemon):
    sekisho("customers", "add", "c-9", "--terms", "gunma,nbnet", "--prefix", "192.0.2.9, 2001:db8::/48", config=daemon.config)
    (_, (record,), _) = daemon.calls[0]
    assert (record["terms"], record["prefixes"]) == (["gunma", "nbnet"], ["192.0.2.9", "2001:db8::/48"])


def test_a_customer_comes_from_standard_input_or_a_file(daemon, tmp_path):
    text = "id: c-9\nterms: gunma\nconsent: {version: 2.10, at: 2026-04-01}\n"
    (tmp_path / "c.yaml").write_text(text)
    for arguments in (["--file", str(tmp_path / "c.yaml")], ["--file", "-"], []):
        assert sekisho("customers", "add", *arguments, config=daemon.config, input=text).exit_code == 0
    assert [call[1] for call in daemon.calls] == [(text,)] * 3


def test_a_name_may_come_from_standard_input_so_that_no_history_has_it(daemon):
    result = sekisho("lists", "except", "csam", "-", config=daemon.config, input=f"{SEALED}\n")
    assert daemon.calls[0][1] == ("csam", SEALED)
    assert SEALED not in result.output


def test_the_name_is_not_repeated_whatever_is_answered(daemon):
    for more in ([], ["--json"]):
        assert SEALED not in sekisho("lists", "except", "csam", SEALED, *more, config=daemon.config).output
        assert SEALED not in sekisho("explain", "--customer", "c-1", "--name", SEALED, *more, config=daemon.config).output


def commands(command, path=()):
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


@pytest.mark.parametrize("path", [path for path, _ in commands(cli)], ids=" ".join)
def test_every_help_text_teaches_by_an_example(path):
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.output
    assert "--config" in result.output
    if not isinstance(dict(commands(cli))[path], click.Group) or not path:
        assert "  sekisho " in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert "_SEKISHO_COMPLETE" in result.output


def test_client_verbs_start_without_the_compiler_and_without_the_daemons_libraries(daemon):
    code = (
        "import sys; from sekisho.cli.main import cli; cli(['status'], standalone_mode=False); "
        "heavy = {'numba', 'numpy', 'pydantic', 'httpx', 'starlette', 'uvicorn', 'dns'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    environment = os.environ | {"SEKISHO_CONFIG": str(daemon.config)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_has_seen_enough_ends_it_quietly(daemon):
    command = f'"{sys.executable}" -m sekisho.cli.main status --config "{daemon.config}" | true'
    done = subprocess.run(["/bin/bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def report(tmp_path, *lines):
    path = tmp_path / "report.csv"
    path.write_text("address,timestamp,port\n" + "".join(f"{line}\n" for line in lines))
    return str(path)


def test_a_report_is_read_here_and_each_line_told(daemon, tmp_path):
    result = sekisho(
        "notice-report", "import", report(tmp_path, "192.0.2.1,2026-04-01T09:30Z,", "192.0.2.9,2026-04-01T09:30Z,1"), config=daemon.config
    )
    assert result.exit_code == 0, result.output
    [(name, (_, clause, lines), more)] = daemon.calls
    assert (name, clause, more["actor"][:4]) == ("import_report", None, "uid:")
    assert [(one["line"], one["address"], one.get("port")) for one in lines] == [(2, "192.0.2.1", None), (3, "192.0.2.9", 1)]
    assert "line 2: 192.0.2.1: call a-1 to c-1" in result.stdout
    assert "line 3: 192.0.2.9: no call: nobody" in result.stdout
    assert "1 opened, 1 unknown" in result.stdout


def test_a_bad_line_of_a_report_is_told_and_the_exit_code_says_so(daemon, tmp_path):
    result = sekisho(
        "notice-report",
        "import",
        report(tmp_path, "nonsense,2026-04-01T09:30Z,", "192.0.2.9,2026-04-01T09:30Z,1"),
        "--json",
        config=daemon.config,
    )
    assert result.exit_code == 1
    assert [one["line"] for one in json.loads(result.stdout)["bad"]] == [2]
    assert len(daemon.calls[0][1][2]) == 1, "the good line was sent"


def test_notices_and_calls_are_shown_and_moved(daemon, tmp_path):
    shown = sekisho("notices", "list", config=daemon.config).stdout
    assert "may have been sent twice" in shown
    assert "c-2@example.com bounces" in shown
    assert "\x1b" not in shown
    assert "recorded as bounced" in sekisho("notices", "bounced", "c-1@example.com", config=daemon.config).stdout
    eml = tmp_path / "report.eml"
    eml.write_bytes(b"Subject: \xff\n")
    sekisho("notices", "bounced", str(eml), config=daemon.config)
    assert [call[1] for call in daemon.calls if call[0] == "bounced"] == [("c-1@example.com", None), (None, "Subject: \udcff\n")]
    assert "192.0.2.1" in sekisho("attention", "list", config=daemon.config).stdout
    assert "is answered" in sekisho("attention", "answer", "a-1", "--reason", "done", config=daemon.config).stdout
    assert "is closed" in sekisho("attention", "close", "a-1", config=daemon.config).stdout


def test_the_reasons_of_a_slow_line_are_shown_in_words():
    limit = {
        "measure": "m-1",
        "effect": "limit-rate",
        "state": "in-force",
        "clause": "nbnet/22-2-4",
        "clause_words": {"article": "a", "title": "t", "ja": "帯域", "en": "bandwidth"},
        "words": ["Over 30 minutes it used 95% of 100 Mbit/s."],
    }
    segment = {"segment": "pon-1", "utilisation_down": 0.95, "utilisation_up": 0.1, "congested": True}
    text = "\n".join(verbs_verdicts._line({"limits": [limit], "words": [], "segments": [segment]}))
    assert "m-1  limit-rate, in-force, under nbnet/22-2-4" in text
    assert "Over 30 minutes it used 95%" in text
    assert "95% towards customers, 10% from them, congested" in text
    assert "NOT DONE" not in text


def test_a_limit_that_is_not_carried_out_is_marked_and_an_emergency_told():
    words = {"clause_words": None, "words": ["Due under nbnet/22-2-4, but nothing is done: enforcement is held."]}
    limit = {"measure": "m-1", "effect": "limit-rate", "state": "in-force", "clause": "nbnet/22-2-4", "not_done": "held", **words}
    emergency = {
        "effect": "limit-dns",
        "clause": "nbnet/20",
        "not_done": None,
        "clause_words": None,
        "words": ["In force in the emergency."],
    }
    text = "\n".join(verbs_verdicts._line({"limits": [limit], "emergency": emergency, "words": [], "segments": []}))
    assert "m-1  limit-rate, in-force, NOT DONE, under nbnet/22-2-4\n  Due under" in text
    assert "emergency  limit-dns, under nbnet/20\n  In force in the emergency." in text
    alone = "\n".join(verbs_verdicts._line({"limits": [], "emergency": emergency | {"not_done": "held"}, "words": ["x"], "segments": []}))
    assert "emergency  limit-dns, NOT DONE, under nbnet/20" in alone
    assert "x" not in alone.splitlines()


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "a: [", "a: \xff"])
def test_a_configuration_that_cannot_be_read_is_told_and_is_no_crash(tmp_path, text):
    (tmp_path / "sekisho.yaml").write_text(text, encoding="latin-1")
    done = CliRunner().invoke(cli, ["--config", str(tmp_path / "sekisho.yaml"), "status"])
    assert done.exit_code == 1
    assert "is not YAML\n  run `sekisho check`" in done.stderr
