"""A clock that jumps: forward and back again leaves everything as if it had not."""

from __future__ import annotations

import asyncio

import pytest

from sekisho.app.control_daemon import _expire
from sekisho.app.control_expiry import Expiry
from sekisho.drivers.ledger import Ledger
from sekisho.drivers.listentries import JITTER, ListEntry
from sekisho.drivers.listversions import NOTHING, Identity, Stored
from sekisho.ledger.chain import verify
from sekisho.lists.compile import FeedReport
from sekisho.model.events import OptOutAdded
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import key_of
from unit.control.sites import ACTOR, Clock, run, verdict

DAY = 86400.0
BLOCKED = ("blocked", "c2", "gunma/別記-1")


def test_an_opt_out_that_a_clock_far_ahead_ended_is_in_force_again_when_the_clock_is_right(folder):
    clock = Clock()

    async def scenario(control):
        await control.add_opt_out("c-1", "c2", by="phone", until=clock.now + DAY, actor=ACTOR)
        seen = []
        for step in (0.0, 2 * DAY, -2 * DAY, DAY):
            clock.now += step
            await _expire(control.core)
            seen.append(await verdict(control, "c-1", "c2.example"))
        return seen

    before, ahead, right, ended = run(folder, scenario, clock)
    assert before[0] == right[0] == "answered"
    assert ahead == ended == BLOCKED


def test_ends_are_told_again_after_a_step_back_and_once_each():
    expiry = Expiry()
    for number in range(5):
        expiry.add(f"c-{number}", 100.0 + number)
    assert expiry.due(102.0) == ["c-0", "c-1", "c-2"]
    assert expiry.due(102.0) == []
    assert sorted(expiry.due(101.0)) == ["c-2"], "in force again"
    assert expiry.due(101.0) == []
    assert expiry.due(1e9) == ["c-2", "c-3", "c-4"]
    assert sorted(expiry.due(0.0)) == ["c-0", "c-1", "c-2", "c-3", "c-4"]
    assert expiry.next == 100.0


def test_acts_recorded_while_the_clock_goes_back_keep_their_order_and_verify(tmp_path):
    async def scenario():
        ledger = Ledger.open(tmp_path / "ledger.db")
        for at in (1000.0, 5.0, 999999.0, 6.0):
            await ledger.append(OptOutAdded("c-1", "c2", f"at {at:g}"), ACTOR, at)
        await ledger.close()
        again = Ledger.open(tmp_path / "ledger.db")
        assert verify(again.events()) is None
        last = again.state.opt_out("c-1", "c2")
        await again.close()
        return last

    last = asyncio.run(scenario())
    assert (last.by, last.since) == ("at 6", 6.0), "the last word counts, whatever its time"


@pytest.mark.parametrize("failures", [0, 3])
@pytest.mark.parametrize("step", [-10 * 365 * DAY, -DAY, DAY, 10 * 365 * DAY])
def test_no_step_of_the_clock_puts_the_next_fetch_off_beyond_its_interval(failures: int, step: float):
    definition = ListDefinition("c2", 0, "c2", "c2.txt", ListFormat.DOMAINS, Scope.EXACT, refresh=3600.0)
    identity = Identity.of(definition, key_of(bytes(16)), frozenset())
    stored = Stored(NOTHING, FeedReport(0, 0, 0, 0, (), ""), identity, 1e9)
    entry = ListEntry(definition, identity, stored=stored, failures=failures, failed_at=1e9)
    assert 0.0 <= entry.wait(1e9 + step) <= 3600.0 * (1 + JITTER)
