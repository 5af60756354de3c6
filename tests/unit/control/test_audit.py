"""The record asked for by an auditor, kept for as long as it may be, and backed up, on a daemon that runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from sekisho.api.application import application
from sekisho.api.server import listen, server
from sekisho.app.control_audit import erase, kept
from sekisho.cli import verbs_audit
from sekisho.cli.main import cli
from sekisho.drivers.site import load_site
from sekisho.ledger.audit import Audit, imported
from sekisho.model.errors import ConfigError
from sekisho.model.noticeacts import LookedUp
from sekisho.model.roles import Roles
from unit.control.sites import ACTOR, Clock, daemon, run
from unit.ledger.ledgers import hurt

DAY = 86400.0


def sekisho(folder, *arguments):
    result = CliRunner().invoke(cli, ["--config", str(folder.config), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


async def opted_out(control, count=3):
    for number in range(count):
        await control.add_opt_out("c-1", "c2", until=None, by=f"phone {number}", actor=ACTOR)
    await control.add_opt_out("c-2", "c2", until=None, by=None, actor=ACTOR)


@contextlib.asynccontextmanager
async def served(folder, clock=None):
    """A daemon that answers on its socket; commands are given in another thread."""
    with capture_logs():
        async with daemon(folder, clock) as control:
            one = server(application(control, lambda: Roles(os.getuid())))
            serving = asyncio.create_task(one.serve([listen(folder.path / "run" / "sekishod.sock")]))
            try:
                yield control
            finally:
                one.should_exit = True
                await serving


@pytest.fixture(params=["file", "daemon"])
def by(request, monkeypatch):
    """How the auditor reads the ledger: its file, or through the daemon since it is not theirs to read."""
    if request.param == "daemon":
        monkeypatch.setattr(verbs_audit, "_may_read", lambda _: False)
        monkeypatch.setattr(verbs_audit, "PAGE", 2)
    return request.param


def test_an_auditor_verifies_exports_and_shows_beside_the_daemon(folder, by):
    async def scenario():
        async with served(folder) as control:
            await opted_out(control)
            verbs = (["verify"], ["verify", "--json"], ["export"], ["show", "--customer", "c-1"], ["show", "--customer", "nobody"])
            return [await asyncio.to_thread(sekisho, folder, "audit", *words) for words in verbs]

    text, body, export, shown, nobody = asyncio.run(scenario())
    assert [one.exit_code for one in (text, body, export, shown, nobody)] == [0] * 5
    verified = json.loads(body.stdout)
    assert (verified["ok"], verified["events"], verified["erased"], verified["breaks"]) == (True, 4, 0, [])
    assert f"4 events verify\nlast event 4:{verified['head']['chain']}" in text.stdout
    lines = [json.loads(line) for line in export.stdout.splitlines()]
    audit = Audit()
    for line in lines:
        audit.take(imported(line))
    assert (audit.breaks, audit.head.number) == ([], 4)
    assert [line["payload"]["customer"] for line in lines] == ["c-1", "c-1", "c-1", "c-2"]
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["1", "2", "3"]
    assert "optout-added" in shown.stdout
    assert "by: phone 2" in shown.stdout
    assert "nothing is on record of nobody" in nobody.stdout
    assert "there is no customer nobody now" in nobody.stdout
    assert "there is no customer" not in shown.stdout
    assert by in {"file", "daemon"}


def test_what_is_on_record_of_a_customer_who_has_gone_is_shown_and_that_they_have_gone(folder, by):
    async def scenario():
        async with served(folder) as control:
            await opted_out(control)
            before = await control.events(customer="c-1", list_id=None, since=None, limit=10)
            await control.remove_customer("c-1", actor=ACTOR)
            after = await control.events(customer="c-1", list_id=None, since=None, limit=10)
            everyone = await control.events(customer=None, list_id=None, since=None, limit=10)
            assert [one["known"] for one in (before, after, everyone)] == [True, False, None]
            verbs = (["audit", "show", "--customer", "c-1"], ["events", "--customer", "c-1"], ["sessions", "show", "c-1"])
            return [await asyncio.to_thread(sekisho, folder, *words) for words in verbs]

    record, matches, sessions = asyncio.run(scenario())
    assert [one.exit_code for one in (record, matches, sessions)] == [0] * 3
    assert all("there is no customer c-1 now" in one.stdout for one in (record, matches, sessions))
    assert "by: phone 2" in record.stdout
    assert "no matches" in matches.stdout
    assert by in {"file", "daemon"}
    alone = sekisho(folder, "audit", "show", "--customer", "c-1")
    assert (alone.exit_code, "there is no customer" in alone.stdout) == (by == "daemon", False), "without a daemon that is not known"


def test_an_auditor_without_a_daemon_finds_what_was_changed(folder):
    run(folder, opted_out)
    good = sekisho(folder, "audit", "verify", "--json")
    assert good.exit_code == 0
    head = json.loads(good.stdout)["head"]
    noted = f"{head['number']}:{head['chain']}"
    assert sekisho(folder, "audit", "verify", "--head", noted).exit_code == 0
    wrong = sekisho(folder, "audit", "verify", "--head", f"3:{head['chain']}")
    assert wrong.exit_code == 1
    assert "event 3: is not the event that was noted" in wrong.stdout
    assert sekisho(folder, "audit", "verify", "--head", "nonsense").exit_code == 2
    hurt(folder.path / "state" / "ledger.db", "UPDATE events SET payload = x'7b7d' WHERE number = 2")
    bad = sekisho(folder, "audit", "verify")
    assert bad.exit_code == 1
    assert bad.stdout.startswith("event 2: its content is not what its digest was made of")
    assert "DOES NOT VERIFY" in bad.stderr
    body = sekisho(folder, "audit", "verify", "--json")
    assert body.exit_code == 1
    assert [one["number"] for one in json.loads(body.stdout)["breaks"]] == [2]


def test_what_was_changed_under_a_running_daemon_is_found_through_it(folder, monkeypatch):
    monkeypatch.setattr(verbs_audit, "_may_read", lambda _: False)

    async def scenario():
        async with served(folder) as control:
            await opted_out(control)
            # The same values, written otherwise: no export tells, the very bytes do.
            payload = '{"customer": "c-1", "by": "phone 1", "list": "c2", "until": null}'
            hurt(folder.path / "state" / "ledger.db", f"UPDATE events SET payload = CAST('{payload}' AS BLOB) WHERE number = 2")  # noqa: S608
            return await asyncio.to_thread(sekisho, folder, "audit", "verify", "--json")

    assert [one["number"] for one in json.loads(asyncio.run(scenario()).stdout)["breaks"]] == [2]


def test_show_tells_a_terminal_nothing_it_would_obey(folder):
    async def scenario(control):
        await control.add_opt_out("c-1", "c2", until=2e9, by="\x1b[2Jclear", actor=ACTOR)

    run(folder, scenario)
    shown = sekisho(folder, "audit", "show", "--customer", "c-1")
    assert "\x1b" not in shown.stdout
    assert "\\x1b[2Jclear" in shown.stdout
    assert "until: 2033-05-1" in shown.stdout
    assert "\x1b" not in sekisho(folder, "audit", "export").stdout


def test_a_backup_is_taken_by_the_daemon_and_put_back_without_it(folder):
    async def scenario():
        async with served(folder) as control:
            await opted_out(control)
            made = await asyncio.to_thread(sekisho, folder, "backup", str(folder.path / "kept"))
            await control.add_opt_out("c-5", "c2", until=None, by=None, actor=ACTOR)
            refused = await asyncio.to_thread(sekisho, folder, "restore", str(folder.path / "kept"), "--force")
            return made, refused

    made, refused = asyncio.run(scenario())
    assert made.exit_code == 0, made.output
    assert "list key" in made.stdout
    assert refused.exit_code == 1
    assert "another sekishod is using" in refused.stderr
    assert sekisho(folder, "audit", "verify", str(folder.path / "kept")).exit_code == 0
    assert "--force" in sekisho(folder, "restore", str(folder.path / "kept")).stderr
    done = sekisho(folder, "restore", str(folder.path / "kept"), "--force")
    assert done.exit_code == 0, done.output
    assert "what was there is in" in done.stdout

    async def look(control):
        return sorted(control.core.state.opt_outs)

    assert run(folder, look) == ["c-1", "c-2"]


def test_a_backup_is_taken_without_the_daemon_too(folder):
    run(folder, opted_out)
    made = sekisho(folder, "backup", str(folder.path / "kept"), "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["head"]["number"] == 4
    again = sekisho(folder, "backup", str(folder.path / "kept"))
    assert again.exit_code == 1
    assert "not empty" in again.stderr


def test_a_restore_without_the_list_key_says_so(folder):
    run(folder, opted_out)
    sekisho(folder, "backup", str(folder.path / "kept"))
    for path in (folder.path / "state").iterdir():
        if path.is_file():
            path.unlink()
    done = sekisho(folder, "restore", str(folder.path / "kept"))
    assert done.exit_code == 0, done.output
    assert "put back list.key" in done.stdout


def test_content_is_erased_when_its_time_is_over_and_what_is_in_force_stays(folder):
    folder.set(ledger_retention={"optout-added": "30d", "optout-removed": "30d", "looked-up": "90d"})
    clock = Clock()

    async def scenario(control):
        core = control.core
        await control.add_opt_out("c-1", "c2", until=None, by="phone", actor=ACTOR)
        await control.add_opt_out("c-2", "c2", until=None, by="phone", actor=ACTOR)
        await control.remove_opt_out("c-2", "c2", by="phone", actor=ACTOR)
        await core.ledger.append(LookedUp("192.0.2.1", None, 5.0, "report 7", "gunma/38", "c-1", "found"), ACTOR, clock.now)
        left = []
        for days in (29, 31, 91):
            clock.now = 1_700_000_000.0 + days * DAY
            await erase(core)
            left.append([event.number for event in core.ledger.events() if event.payload is not None])
        return left, sorted(core.state.opt_outs)

    left, opted = run(folder, scenario, clock)
    assert left == [[1, 2, 3, 4], [1, 4, 5], [1, 5, 6]]
    assert opted == ["c-1"]
    assert sekisho(folder, "audit", "verify", "--json").exit_code == 0

    async def again(control):
        return sorted(control.core.state.opt_outs)

    assert run(folder, again) == ["c-1"]


def test_a_kind_may_be_kept_for_good_and_one_nobody_erases_is_a_fault(folder):
    folder.set(ledger_retention={"looked-up": None, "optout-added": "30d"})
    found = kept(load_site(folder.config).settings)
    assert "looked-up" not in found
    assert (found["optout-added"], found["optout-removed"]) == (30 * DAY, 1826 * DAY)
    folder.set(ledger_retention={"feed-accepted": "30d"})
    with pytest.raises(ConfigError, match="is ever erased"):
        load_site(folder.config)
    folder.set(ledger_retention={"looked-up": "soon"})
    with pytest.raises(ConfigError, match="looked-up: expected a duration"):
        load_site(folder.config)


def test_status_says_from_where_the_ledger_was_verified(folder):
    async def scenario(control):
        return (await control.status())["ledger"]

    assert run(folder, scenario) == {"acts": 0, "verified_from": 1}
