"""Who is on which line, through the running daemon: from a packet to the table the plane reads, over restarts and reloads."""

from __future__ import annotations

import time

import pytest
import structlog

from sekisho.app import control_taken
from sekisho.model.customers import Prefix
from sekisho.model.errors import RefusedError
from sekisho.model.sessions import Accounting, AccountingKind
from support import radius
from support.radius import INTERIM, ON, START, STOP, address, integer, octets, prefix6
from unit.control.radiussites import MOBILE, configure, go, on, radius_site, until
from unit.control.sites import ACTOR


@pytest.fixture
def site(folder):
    return radius_site(folder)


def test_a_log_in_is_in_force_and_on_disk_when_it_is_answered(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            assert it.owner("198.51.100.7") is None
            await it.tell(nas, START, "s1", "hana@ppp.example", address("198.51.100.7") + prefix6("2001:db8:77::/56"))
            assert it.owner("198.51.100.7") == "c-9"
            assert it.owner("2001:db8:77:9::1") == "c-9"
            (row,) = it.sessions.history._reader.execute("SELECT customer, until FROM sessions").fetchall()
            assert row == ("c-9", None)
            assert it.sessions.prefixes_of("c-9") == (Prefix.parse("198.51.100.7"), Prefix.parse("2001:db8:77::/56"))
            before = time.time()
            await it.tell(nas, STOP, "s1", "hana@ppp.example", integer(46, 1))
            assert it.owner("198.51.100.7") is None
            assert (await it.at("198.51.100.7", before - 0.001))["customer"] == "c-9"
            assert (await it.at("198.51.100.7"))["outcome"] == "unknown"
            nas.close()

    go(scenario)


def test_sessions_go_on_over_a_restart_and_a_reload(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            await it.tell(nas, INTERIM, "s1", "c-1", octets(10, 20) + integer(46, 5))
            nas.close()
        async with on(site) as it:
            assert it.owner("198.51.100.7") == "c-1"
            (session,) = (await it.show())["sessions"]
            assert (session["customer"], session["down"], session["up"]) == ("c-1", 20, 10)
            site.customers([one for one in MOBILE if one["id"] != "c-1"])
            await it.control.reload(actor=ACTOR)
            assert it.owner("198.51.100.7") is None
            assert (await it.show(unknown=True))["sessions"][0]["user"] == "c-1"
            site.customers(MOBILE)
            await it.control.reload(actor=ACTOR)
            assert it.owner("198.51.100.7") == "c-1"
            await it.core.tables.rebuild(time.time())
            assert it.owner("198.51.100.7") == "c-1"

    go(scenario)


def test_what_a_session_holds_stays_when_its_customer_is_changed_at_run_time(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "new@ppp.example", address("198.51.100.7"))
            body = await it.show(unknown=True)
            assert (body["unknown"], body["sessions"][0]["customer"], it.owner("198.51.100.7")) == (1, None, None)
            record = {"id": "c-77", "terms": "gunma", "logins": ["new@ppp.example"], "prefixes": ["192.0.2.77"]}
            await it.control.add_customer(record, replace=False, actor=ACTOR)
            assert (it.owner("198.51.100.7"), it.owner("192.0.2.77")) == ("c-77", "c-77")
            await it.control.add_customer(record | {"group": "g"}, replace=True, actor=ACTOR)
            assert it.owner("198.51.100.7") == "c-77"
            await it.control.remove_customer("c-77", actor=ACTOR)
            assert it.owner("198.51.100.7") is None
            assert (await it.show())["unknown"] == 1
            nas.close()

    go(scenario)


def test_a_log_in_name_is_one_customers(site):
    async def scenario():
        async with on(site) as it:
            for record in ({"id": "c-78", "terms": "gunma", "logins": ["hana@ppp.example"]}, {"id": "hana@ppp.example", "terms": "gunma"}):
                with pytest.raises(RefusedError, match="c-9"):
                    await it.control.add_customer(record, replace=False, actor=ACTOR)

    go(scenario)


def test_a_fixed_address_is_its_customers_again_when_the_session_that_had_it_ends(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-9", address("192.0.2.1"))
            assert it.owner("192.0.2.1") == "c-9"
            await it.tell(nas, STOP, "s1", "c-9")
            assert it.owner("192.0.2.1") == "c-1"
            nas.close()

    go(scenario)


def test_a_fixed_address_on_anothers_line_is_told_once_and_shown_while_it_is_so(site):
    async def scenario():
        async with on(site) as it:
            assert not (await it.show())["faults"]
            nas = await it.nas()
            await it.tell(nas, START, "s0", "c-1", address("192.0.2.1"))
            assert not (await it.show())["faults"], "their own"
            for session in ("s1", "s2"):
                await it.tell(nas, INTERIM, session, "c-9", address("192.0.2.1"))
            assert it.owner("192.0.2.1") == "c-9", "RADIUS knows who is on the line"
            (fault,) = (await it.show())["faults"]
            assert "1 address of other customers' fixed prefixes, such as 192.0.2.1/32 of c-1, which is on the line of c-9" in fault
            assert fault in (await it.control.status())["warnings"]
            nas.close()
        async with on(site) as it:
            await until(lambda: len(it.sessions.taken()) == 1)
            nas = await it.nas()
            await it.tell(nas, START, "s3", "stranger", address("192.0.2.1"))
            assert "on the line of a user who is no customer" in (await it.show())["faults"][0]
            await it.tell(nas, STOP, "s3", "stranger", integer(46, 5))
            assert not (await it.show())["faults"]
            nas.close()

    with structlog.testing.capture_logs() as logs:
        go(scenario)
    told = [(one["prefix"], one["owner"], one["customer"]) for one in logs if one["event"] == "fixed-prefix-taken"]
    # Once before the restart, once after it.
    assert told == [("192.0.2.1/32", "c-1", "c-9"), ("192.0.2.1/32", "c-1", "c-9"), ("192.0.2.1/32", "c-1", None)]


def test_a_pool_laid_over_fixed_prefixes_fills_neither_memory_nor_log(site, monkeypatch):
    monkeypatch.setattr(control_taken, "MOST", 2)
    site.customers([{"id": "c-30", "terms": "gunma", "prefixes": ["203.0.113.0/29"]}, {"id": "c-9", "terms": "gunma"}])

    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            for last in range(5):
                await it.tell(nas, START, f"s{last}", "c-9", address(f"203.0.113.{last}"))
            assert len(it.sessions._taken._codes) == 2
            for last in range(5):
                await it.tell(nas, STOP, f"s{last}", "c-9", integer(46, 5))
            await it.sessions.tick()
            assert not it.sessions._taken._codes, "there is room again"
            nas.close()

    with structlog.testing.capture_logs() as logs:
        go(scenario)
    assert [one["event"] for one in logs].count("fixed-prefix-taken") == 2


def test_a_nas_that_restarts_leaves_no_ghosts_and_others_sessions_alone(site):
    async def scenario():
        site.set(
            radius={
                "listen": ["127.0.0.1:0"],
                "nas": [
                    {"id": "bras-1", "address": "127.0.0.1", "secret_file": "secret"},
                    {"id": "bras-2", "address": "127.0.0.2", "secret_file": "secret"},
                ],
            }
        )
        async with on(site) as it:
            first, second = await it.nas(), await it.nas(host="127.0.0.2")
            await it.tell(first, START, "s1", "c-1", address("198.51.100.1"))
            await it.tell(second, START, "s1", "c-2", address("198.51.100.2"))
            await it.tell(first, ON)
            assert [one["user"] for one in (await it.show())["sessions"]] == ["c-2"]
            assert (it.owner("198.51.100.1"), it.owner("198.51.100.2")) == (None, "c-2")
            (ended,) = (await it.show(customer="c-1", ended=True))["sessions"]
            assert ended["end"] == "nas-restart"
            first.close()
            second.close()

    go(scenario)


def test_a_log_in_is_not_ended_with_the_sessions_of_before_though_it_is_told_with_the_restart(site):
    """By one batch, and by the same Acct-Session-Id: access servers count from one again."""

    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.1"))
            now = time.time()
            anew = Accounting(AccountingKind.START, "bras-1", now, "s1", "c-1", (Prefix.parse("198.51.100.2"),))
            it.sessions._take([(1, Accounting(AccountingKind.NAS_ON, "bras-1", now)), (2, anew)])
            await until(lambda: not it.sessions._tasks and not it.sessions.history.waiting)
            assert (it.owner("198.51.100.1"), it.owner("198.51.100.2")) == (None, "c-1")
            assert [one["end"] for one in (await it.show(customer="c-1", ended=True))["sessions"]] == [None, "nas-restart"]
            nas.close()

    go(scenario)


def test_a_session_nothing_is_heard_of_ends_after_time_out_and_grace(site):
    async def scenario():
        configure(site, timeout="10m", grace="5m")
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            heard = time.time()
            it.sessions._clock = lambda: heard + 800
            await it.sessions.tick()
            (session,) = (await it.show(customer="c-1"))["sessions"]
            assert it.sessions.is_silent(it.sessions.live("c-1")[0], heard + 800)
            assert session["until"] is None
            it.sessions._clock = lambda: heard + 1000
            await it.sessions.tick()
            assert (await it.show())["live"] == 0
            assert it.owner("198.51.100.7") is None
            nas.close()

    go(scenario)


def test_a_realm_is_taken_off_only_where_that_is_set(site):
    async def scenario(realms, expected):
        configure(site, realms=realms)
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, f"s-{expected}", "c-1@example.net", address("198.51.100.7"))
            assert it.owner("198.51.100.7") == expected
            nas.close()

    go(lambda: scenario((), None))
    go(lambda: scenario(("example.net",), "c-1"))


def test_an_id_told_with_its_realm_and_without_it_is_one_id(site):
    async def scenario():
        configure(site, realms=("example.net",))
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            await it.tell(nas, START, "s2", "c-1@example.net", address("198.51.100.8"))
            await it.tell(nas, START, "s3", "c-2@example.org", address("198.51.100.9"))
            assert [one.user for one in it.sessions.several()] == ["c-1", "c-1"]
            assert it.core.bandwidth.sessions == it.sessions.several
            assert (it.sessions.login_of("c-2@example.org"), it.sessions.login_of("hana@ppp.example")) == (
                "c-2@example.org",
                "hana@ppp.example",
            )
            nas.close()

    go(scenario)


def test_where_many_customers_are_is_told_as_of_each_of_them(site):
    """Fixed, by session, both, the same twice, on another's line, shared by ports, added at run time, and nobody."""
    fixed = {
        "c-40": ["192.0.2.40"],
        "c-41": ["192.0.2.41", "2001:db8:41::/48"],
        "c-42": [],
        "c-43": ["203.0.113.0/29"],
        "c-44": ["192.0.2.44"],
    }

    async def scenario():
        configure(site, ports={"range": "26.9.1", "address": "26.9.2"})
        site.customers([{"id": one, "terms": "gunma", "prefixes": own} for one, own in fixed.items()])
        asked = [*fixed, "nobody", "c-45", "c-40"]

        def parsed(*texts):
            return tuple(map(Prefix.parse, texts))

        async with on(site) as it:

            def told():
                each = it.sessions.prefixes_of_each(asked)
                assert each == list(map(it.sessions.prefixes_of, asked))
                return dict(zip(asked, each, strict=True))

            assert told() == {one: parsed(*fixed.get(one, ())) for one in asked}
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-41", address("192.0.2.41") + prefix6("2001:db8:77::/56"))
            await it.tell(nas, START, "s2", "c-42", address("192.0.2.44"))
            await it.control.add_customer({"id": "c-45", "terms": "gunma", "prefixes": ["192.0.2.45"]}, replace=False, actor=ACTOR)
            assert told()["c-41"] == parsed("192.0.2.41", "2001:db8:41::/48", "2001:db8:77::/56")
            assert (told()["c-42"], told()["c-44"], told()["c-45"]) == (parsed("192.0.2.44"), (), parsed("192.0.2.45"))
            outside = radius.vendor(9, 1, b"ports=1024-2047") + radius.vendor(9, 2, b"203.0.113.1")
            await it.tell(nas, START, "s3", "c-40", address("100.64.0.1") + outside)
            assert told()["c-43"] == parsed("203.0.113.0", "203.0.113.2/31", "203.0.113.4/30")
            assert told()["c-40"] == parsed("192.0.2.40", "100.64.0.1")
            nas.close()

    go(scenario)
