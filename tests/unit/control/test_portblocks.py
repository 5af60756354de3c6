"""Blocks of ports that CGNs report: from a packet to whose ADDRESS:PORT is, now and then."""

from __future__ import annotations

import asyncio
import math
import time

import numpy as np
import pytest

from sekisho.app.control_portblocks import Report
from sekisho.app.control_status import observe
from sekisho.cli.verbs_flows import _flows
from sekisho.flows.shares import UNKNOWN, find_sharer
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.flows import BlockOutcome
from sekisho.model.sessions import Accounting, AccountingKind, Ports, Share
from sekisho.sessions.changes import Changes
from support import wait_until
from unit.control.radiussites import On, go
from unit.control.sites import daemon
from unit.control.test_flows import send
from unit.flows.packets import a_set, ipfix, number, template
from unit.flows.test_natevents import BLOCK, block

INSIDE, OTHER, OUTSIDE = "100.64.0.9", "100.64.0.10", "203.0.113.5"
PORTS = (1024, 2047)
CGN = "flows/127.0.0.1"
START, STOP, INTERIM = AccountingKind.START, AccountingKind.STOP, AccountingKind.INTERIM


class Cgn(On):
    """The daemon of a site, and what a CGN and accounting tell it."""

    def __init__(self, control):
        super().__init__(control)
        self.blocks = control.core.sessions.blocks
        self.blocks.adopt(control.core.site.settings.flows)
        self.now = math.floor(time.time())
        self.core.clock = self.sessions._clock = self.blocks._clock = lambda: self.now

    def report(self, at=None, *, inside=INSIDE, ports=PORTS, allocated=True, exporter="127.0.0.1", realm=0, outside=OUTSIDE):
        """What becomes of a record."""
        before = dict(self.blocks.counts)
        inner = number(inside) if inside else 0
        when = self.now if at is None else at
        self.blocks.enter([Report(allocated, number(exporter), inner, Prefix.parse(outside), *ports, when, realm)])
        (outcome,) = [one for one, count in self.blocks.counts.items() if count != before.get(one, 0)]
        return outcome

    def account(self, kind, session, customer, *prefixes, at=None, shares=()):
        changes = Changes()
        told = Accounting(kind, "bras", self.now if at is None else at, session, customer, tuple(map(Prefix.parse, prefixes)), shares)
        self.sessions.table.apply(told, self.sessions.logins.whose(customer, self.core.people), changes)
        self.sessions._commit(changes)

    def parts(self):
        return sorted((first.first, first.last, whose) for _, first, whose in self.sessions.table.parts())

    def whose(self, port=1500, address=OUTSIDE):
        return next((whose for _, ports, whose in self.sessions.table.parts() if ports.holds(port)), None)

    async def held(self, when=None, port=1500):
        """Outcome and customer, as the operator is told."""
        self.sessions.history.write((), lambda: None)
        await asyncio.to_thread(wait_until, lambda: self.sessions.history.waiting == 0)
        told = await self.at(OUTSIDE, when, port=port)
        return told["outcome"], told["customer"]


def running(site, steps, **exporter):
    site.set(flows={"listen": ["127.0.0.1:0"], "exporters": [{"address": "127.0.0.1", "port_blocks": True} | exporter], "interval": "1s"})

    async def scenario():
        async with daemon(site) as control:
            await steps(Cgn(control))

    go(scenario)


@pytest.fixture
def site(folder):
    folder.customers(
        [{"id": "c-1", "terms": "gunma", "prefixes": [INSIDE]}, {"id": "c-2", "terms": "gunma"}, {"id": "c-3", "terms": "gunma"}]
    )
    return folder


def test_from_a_packet_to_whose_a_port_is(site):
    async def steps(it):
        core, flows = it.core, it.core.flows

        async def until(condition):
            for _ in range(3_000):
                await flows.tick(0.0)
                if condition():
                    return
                await asyncio.sleep(0.01)
            raise AssertionError("it did not come about")

        await flows.adopt(core.site.settings.flows)
        row = core.tables.row_of("c-1")
        assert it.owner(INSIDE) == "c-1"
        at = it.now * 1000
        send(
            flows.body(), ipfix([a_set(2, template(256, BLOCK)), a_set(256, block(inside=INSIDE, at=at) + block(4) + block(ports=(9, 1)))])
        )
        await until(lambda: it.blocks.counts[BlockOutcome.TAKEN])
        assert it.parts() == [(*PORTS, "c-1")]
        number_ = number(OUTSIDE) & 0xFFFFFFFF
        assert [find_sharer(flows._collector.shares, number_, port) for port in (1023, 1024, 2047, 2048)] == [UNKNOWN, row, row, UNKNOWN]
        assert it.owner(OUTSIDE) is None, "the plane tells no ports apart"
        assert await it.held() == ("found", "c-1")
        assert (await it.held(port=2048))[0] == "unknown"
        (session,) = (await it.show(customer="c-1"))["sessions"]
        assert (session["nas"], session["id"]) == (CGN, f"{INSIDE} {OUTSIDE}:1024-2047")
        body = flows.body()
        assert {name: count for name, count in body["blocks"].items() if count} == {"taken": 1, "unusable": 1, "passed": 1}
        assert body["blocks"] == observe(core).flows.blocks
        assert (body["totals"]["records"], body["octets"]) == (0, 0)
        assert "1 of blocks of ports taken" in "\n".join(_flows(body))
        assert INSIDE not in str(body)
        assert not flows._collector._desk.blocks.any(), "nothing is left of it where it came in"
        assert not flows._collector._inbox.packets[:4096].any()
        it.now += 10
        send(flows.body(), ipfix([a_set(256, block(17, inside=INSIDE, at=at + 10_000))], 3))
        await until(lambda: it.blocks.counts[BlockOutcome.TAKEN] == 2)
        assert it.parts() == []
        assert find_sharer(flows._collector.shares, number_, 1500) != row
        assert await it.held() == ("unknown", None)
        assert await it.held(it.now - 5) == ("found", "c-1")

    running(site, steps)


def test_a_block_is_whose_the_inside_address_is_by_accounting(site):
    async def steps(it):
        it.account(START, "s1", "c-2", OTHER)
        assert it.report(inside=OTHER) is BlockOutcome.TAKEN
        assert it.whose() == "c-2"
        assert [one.user for one in it.sessions.several()] == [], "a block is no log-in"
        assert it.sessions.prefixes_of("c-2") == (Prefix.parse(OTHER),)
        # A session has a fixed address of another's for as long as it lasts.
        it.account(START, "s2", "c-3", INSIDE)
        assert it.report(ports=(4096, 5119)) is BlockOutcome.TAKEN
        assert it.whose(4096) == "c-3"

    running(site, steps)


def test_an_inside_address_nobody_is_known_by_is_never_guessed(site):
    async def steps(it):
        assert it.report(inside="100.64.0.77") is BlockOutcome.UNKNOWN
        assert it.parts() == [(*PORTS, None)]
        assert await it.held() == ("unknown", None)
        (session,) = (await it.show(unknown=True))["sessions"]
        assert (session["user"], session["customer"]) == ("inside 100.64.0.77", None)
        # Two may have it: one by a session for a network, one by a fixed address within that.
        it.account(START, "s1", "c-2", "100.64.0.8/30")
        assert it.report(ports=(4096, 5119)) is BlockOutcome.UNKNOWN
        assert it.report(inside=OTHER, ports=(6144, 7167)) is BlockOutcome.TAKEN
        assert it.whose(6144) == "c-2"

    running(site, steps)


def test_a_tunnels_inside_address_is_of_the_prefix_around_it(site):
    async def steps(it):
        it.account(START, "s1", "c-2", "2001:db8:7700::/56")
        assert it.report(inside="2001:db8:7700:1::1") is BlockOutcome.TAKEN
        assert it.whose() == "c-2"
        it.now += 60
        it.account(STOP, "s1", "c-2", at=it.now)
        assert it.parts() == [(*PORTS, None)]

    running(site, steps)


def test_a_block_goes_with_its_inside_address(site):
    async def steps(it):
        began = it.now
        it.account(START, "s1", "c-2", OTHER)
        it.report(inside=OTHER)
        it.now += 100
        it.account(STOP, "s1", "c-2", at=it.now - 20)
        assert it.parts() == [(*PORTS, None)], "nobody is known to have the inside address"
        it.now += 100
        it.account(START, "s2", "c-3", OTHER)
        assert it.whose() == "c-3"
        assert [await it.held(began + after) for after in (79, 81, 199, 200)] == [
            ("found", "c-2"),
            ("unknown", None),
            ("unknown", None),
            ("found", "c-3"),
        ]
        it.now += 10
        assert it.report(inside=OTHER, allocated=False) is BlockOutcome.TAKEN
        assert it.parts() == []

    running(site, steps)


def test_a_block_goes_with_its_inside_address_in_the_moment_it_was_allocated(site):
    async def steps(it):
        it.report()
        it.account(START, "s1", "c-2", INSIDE)
        assert it.parts() == [(*PORTS, "c-2")]
        assert it.report() is BlockOutcome.TAKEN
        assert it.parts() == [(*PORTS, "c-2")]

    running(site, steps)


def test_whoever_lost_their_inside_address_had_the_block_until_they_were_last_heard_of(site):
    async def steps(it):
        began = it.now
        it.account(START, "s1", "c-2", OTHER)
        it.report(inside=OTHER)
        it.now += 50
        it.account(INTERIM, "s1", "c-2", OTHER)
        it.now += 50
        it.account(START, "s2", "c-3", OTHER)
        assert it.whose() == "c-3"
        assert [(await it.held(began + after))[1] for after in (49, 75, 100)] == ["c-2", None, "c-3"]

    running(site, steps)


def test_accounting_that_comes_after_the_record_tells_whose_the_block_is(site):
    async def steps(it):
        began = it.now
        assert it.report(inside=OTHER) is BlockOutcome.UNKNOWN
        it.now += 1
        it.account(START, "s1", "c-2", OTHER)
        assert it.whose() == "c-2"
        # A record of before the log-in is not of who logged in.
        it.now += 60
        it.account(START, "s2", "c-3", "100.64.0.11")
        assert it.report(began, inside="100.64.0.11", ports=(4096, 5119)) is BlockOutcome.TAKEN
        assert await it.held(began + 30, port=4096) == ("unknown", None)
        assert await it.held(port=4096) == ("found", "c-3")

    running(site, steps)


def test_customers_who_change_have_their_blocks_looked_over(site):
    async def steps(it):
        await it.sessions.tick()
        it.report()
        site.customers([{"id": "c-1", "terms": "gunma"}, {"id": "c-2", "terms": "gunma", "prefixes": [INSIDE]}])
        it.now += 10
        await it.control.reload(actor="test")
        await it.sessions.tick()
        assert it.whose() == "c-2"
        assert await it.held(it.now - 5) == ("found", "c-1")
        it.now += 10
        await it.control.remove_customer("c-2", actor="test")
        assert it.parts() == [(*PORTS, None)]
        assert next(it.sessions.table.blocks()).user == f"inside {INSIDE}"
        it.now += 10
        await it.control.add_customer({"id": "c-8", "terms": "gunma", "prefixes": ["100.64.0.0/24"]}, replace=False, actor="test")
        assert it.parts() == [(*PORTS, "c-8")]

    running(site, steps)


def test_ports_that_are_allocated_to_another_are_theirs_from_then_on(site):
    async def steps(it):
        began = it.now
        it.account(START, "s1", "c-2", OTHER)
        it.report()
        it.now += 100
        assert it.report(inside=OTHER, ports=(1536, 2559)) is BlockOutcome.TAKEN
        assert it.parts() == [(1536, 2559, "c-2")]
        # When the first was taken back nobody said.
        assert await it.held(began + 50, 1600) == ("ambiguous", None)
        assert await it.held(port=1600) == ("found", "c-2")
        assert it.report(allocated=False) is BlockOutcome.LATE
        assert it.whose(1600) == "c-2"

    running(site, steps)


def test_records_that_come_late_or_twice_change_nothing(site):
    async def steps(it):
        began = it.now
        it.account(START, "s1", "c-2", OTHER)
        it.now += 100
        assert it.report(began + 50) is BlockOutcome.TAKEN
        assert it.report(began + 50) is BlockOutcome.TAKEN
        assert it.parts() == [(*PORTS, "c-1")]
        assert it.report(began + 40, allocated=False) is BlockOutcome.LATE, "of the time before"
        assert it.report(began + 45, inside=OTHER) is BlockOutcome.LATE
        assert it.parts() == [(*PORTS, "c-1")]
        assert it.report(began + 60, allocated=False) is BlockOutcome.TAKEN
        assert it.report(began + 60, allocated=False) is BlockOutcome.LATE
        assert it.report(began + 50) is BlockOutcome.LATE
        assert it.parts() == []
        # What was taken back first comes to nothing.
        assert it.report(began + 70, inside=OTHER, allocated=False) is BlockOutcome.LATE
        assert it.report(began + 65, inside=OTHER) is BlockOutcome.LATE
        assert it.parts() == []
        assert it.report(began + 80, inside=OTHER) is BlockOutcome.TAKEN
        assert it.whose() == "c-2"

    running(site, steps)


def test_an_allocation_that_was_taken_back_before_it_came_leaves_the_block_that_is_there_as_it_was(site):
    async def steps(it):
        began = it.now - 100
        it.account(START, "s1", "c-2", OTHER, at=began)
        assert it.report(began + 30, allocated=False) is BlockOutcome.LATE
        assert it.report(began + 20, inside=OTHER) is BlockOutcome.TAKEN
        assert it.report(began + 25) is BlockOutcome.LATE
        assert it.whose() == "c-2"
        it.account(START, "s2", "c-3", OTHER)
        assert it.whose() == "c-3", "it goes with its inside address still"

    running(site, steps)


def test_what_lies_in_a_prefix_of_a_session_no_record_takes(site):
    async def steps(it):
        it.account(START, "s1", "c-2", "203.0.113.0/29")
        assert it.report() is BlockOutcome.HELD
        assert it.parts() == []

    running(site, steps)


def test_a_block_may_be_taken_back_by_its_first_port_alone(site):
    async def steps(it):
        it.report()
        assert it.report(inside=None, ports=(1025, 0), allocated=False) is BlockOutcome.LATE
        assert it.report(inside=None, ports=(1024, 0), allocated=False) is BlockOutcome.TAKEN
        assert it.parts() == []

    running(site, steps)


def test_two_exporters_may_speak_for_one_cgn(site):
    async def steps(it):
        it.report()
        assert it.report(exporter="127.0.0.2") is BlockOutcome.TAKEN
        (session,) = it.sessions.table.blocks()
        assert session.nas == CGN
        assert it.report(exporter="127.0.0.2", allocated=False) is BlockOutcome.TAKEN
        assert it.parts() == []

    running(site, steps, address="127.0.0.0/30")


def test_a_cgn_that_restarts_takes_nothing_back_and_its_blocks_end_by_their_age(site):
    async def steps(it):
        began = it.now
        it.report()
        it.report(ports=(4096, 5119))
        it.now += 86400
        it.report(ports=(4096, 5119))
        it.now += 86400 + 60
        it.sessions._listening_since = began
        await it.sessions.tick()
        assert it.parts() == [(4096, 5119, "c-1")], "it was told of again"
        assert await it.held(began) == ("found", "c-1")
        assert (await it.held(began + 3600))[0] == "ambiguous"
        it.now += 86400
        await it.sessions.tick()
        assert (it.parts(), it.blocks._blocks, it.blocks._insides) == ([], {}, []), "nothing is left of those that are over"

    running(site, steps, block_age="2d")


def test_blocks_go_on_over_a_restart_of_the_daemon(site):
    async def before(it):
        it.report()

    async def after(it):
        assert it.parts() == [(*PORTS, "c-1")]
        await it.sessions.tick()
        assert it.parts() == [(*PORTS, "c-1")]
        it.account(START, "s1", "c-2", INSIDE)
        assert it.parts() == [(*PORTS, "c-2")]
        assert it.report(it.now + 1, allocated=False) is BlockOutcome.TAKEN
        assert it.parts() == []

    running(site, before)
    running(site, after)


def test_what_is_past_its_retention_is_gone(site):
    async def steps(it):
        began = it.now
        it.report()
        it.now += 100
        it.report(allocated=False)
        assert await it.held(began + 50) == ("found", "c-1")
        it.now += 181 * 86400
        it.sessions.purge()
        for _ in range(3_000):
            if not it.sessions.history._reader.execute("SELECT count(*) FROM sessions").fetchone()[0]:
                break
            await asyncio.sleep(0.01)
        assert await it.held(began + 50) == ("unknown", None)

    running(site, steps)


def test_what_is_not_this_sites_or_not_of_now_is_counted_and_left(site):
    async def steps(it):
        assert it.report(exporter="192.0.2.99") is BlockOutcome.PASSED
        assert it.report(realm=8) is BlockOutcome.REALM
        assert it.report(it.now + 11) is BlockOutcome.CLOCK
        assert it.report(it.now - 3601) is BlockOutcome.CLOCK
        assert it.report(float(1 << 60)) is BlockOutcome.CLOCK
        assert it.parts() == []
        assert it.report(it.now + 9, realm=7) is BlockOutcome.TAKEN
        (session,) = it.sessions.table.blocks()
        assert session.since == it.now

    running(site, steps, realms=[7])


def test_no_record_takes_what_is_a_customers_own_or_accounting_tells(site):
    async def steps(it):
        it.account(START, "s1", "c-2", OUTSIDE)
        assert it.report() is BlockOutcome.HELD
        assert it.owner(OUTSIDE) == "c-2"
        it.account(STOP, "s1", "c-2")
        assert it.report(outside=INSIDE) is BlockOutcome.HELD
        it.account(START, "s2", "c-3", "100.64.0.12", shares=(Share(Prefix.parse(OUTSIDE), Ports(1024, 1535)),))
        assert it.report() is BlockOutcome.HELD
        assert it.whose() == "c-3"
        assert it.report(ports=(4096, 5119)) is BlockOutcome.TAKEN
        # Accounting takes ports from a record.
        it.now += 10
        it.account(START, "s3", "c-2", "100.64.0.13", shares=(Share(Prefix.parse(OUTSIDE), Ports(4096, 5119)),))
        assert it.whose(4096) == "c-2"

    running(site, steps)


def test_addresses_of_records_are_wiped_once_they_are_entered(site):
    async def steps(it):
        rows = np.array(
            [[16, 0, V4_MAPPED | 0x7F000001, 0, number(INSIDE), number(OUTSIDE) & 0xFFFFFFFF, *PORTS, it.now * 1000, 0]] * 300, np.uint64
        )
        await it.blocks.take([rows])
        assert it.blocks.counts[BlockOutcome.TAKEN] == 300
        assert not rows.any()

    running(site, steps)
