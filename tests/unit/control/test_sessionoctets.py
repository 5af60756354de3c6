"""Octets of sessions, through the running daemon: from a packet to who is told of usage."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sekisho.model.usage import Source
from support import wait_until
from support.radius import INTERIM, ON, START, STOP, address, integer, octets
from unit.control.radiussites import configure, go, on, radius_site


@pytest.fixture
def site(folder):
    return radius_site(folder)


class Sink:
    def __init__(self):
        self.added = []
        self.over = []

    def expect_none(self, source, rows):
        assert rows.dtype == np.int64
        self.over.append((source, rows.tolist()))

    def add(self, source, at, rows, down, up, seconds, early):
        assert (rows.dtype, down.dtype, up.dtype, seconds.dtype, early.dtype) == (np.int64, np.uint64, np.uint64, np.float64, np.bool_)
        self.early = early.tolist()
        self.added.append((source, rows.tolist(), down.tolist(), up.tolist(), seconds.tolist()))


def test_octets_are_handed_on_from_the_customers_side(site):
    async def scenario(swap):
        configure(site, swap=swap)
        async with on(site) as it:
            it.sessions.usage = sink = Sink()
            nas = await it.nas()
            id_ = f"s-{swap}"
            await it.tell(nas, START, id_, "c-1", address("198.51.100.7"))
            await it.tell(nas, INTERIM, id_, "c-1", octets(1000, 5 << 32) + integer(46, 60))
            await it.tell(nas, STOP, id_, "c-1", octets(1500, (5 << 32) + 7) + integer(46, 120))
            await it.sessions.tick()
            row = it.core.tables.row_of("c-1")
            down, up = (5 << 32) + 7, 1500
            assert sink.added == [(Source.RADIUS, [row], [up if swap else down], [down if swap else up], [60.0])]
            nas.close()

    go(lambda: scenario(swap=False))
    go(lambda: scenario(swap=True))


def test_of_whom_no_session_goes_on_no_report_is_waited_for(site):
    async def scenario():
        async with on(site) as it:
            it.sessions.usage = sink = Sink()
            nas = await it.nas()
            row = it.core.tables.row_of("c-1")
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            await it.tell(nas, INTERIM, "s1", "c-1", octets(1000, 5000) + integer(46, 60))
            await it.sessions.tick()
            assert sink.early == [False]
            await it.tell(nas, START, "s2", "c-1", address("198.51.100.8"))
            await it.tell(nas, STOP, "s1", "c-1", octets(1500, 5500) + integer(46, 120))
            await it.sessions.tick()
            assert sink.over == [], "they have logged in again"
            assert sink.early == [True]
            await it.tell(nas, ON)
            await asyncio.to_thread(wait_until, lambda: not len(it.sessions.table))
            await it.sessions.tick()
            assert sink.over == [(Source.RADIUS, [row])]
            await it.sessions.tick()
            assert len(sink.over) == 1
            nas.close()

    go(scenario)
