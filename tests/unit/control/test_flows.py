"""Flow records in the daemon: received as configured, handed on as usage, told by the API, and nothing of who talked to whom."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket

import pytest

from sekisho.app.control_flows import Flows
from sekisho.app.control_flowshares import FlowShares
from sekisho.app.control_status import observe, warnings
from sekisho.cli.verbs_flows import _flows
from sekisho.model.customers import Prefix
from sekisho.model.sessions import Accounting, AccountingKind, Ports, Share
from sekisho.model.usage import Source
from sekisho.sessions.changes import Changes
from unit.control.sites import Folder, run
from unit.flows.packets import v5, v5_record

SERVER = "198.51.100.25"
ADDRESS = "192.0.2.1"
SHARED = "203.0.113.5"


class Taker:
    """Who adds up usage."""

    def __init__(self):
        self.taken = []

    def add(self, source, at, rows, down, up, mail=None, *, connections=None, focused=None):
        self.taken += list(zip([source] * len(rows), rows.tolist(), down.tolist(), up.tolist(), mail.tolist(), strict=True))


async def until(condition, flows):
    for _ in range(3_000):
        await flows.tick(0.0)
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


@pytest.fixture
def site(folder: Folder) -> Folder:
    folder.set(flows={"listen": ["127.0.0.1:0"], "exporters": ["127.0.0.1"], "interval": "1s"})
    return folder


def send(body, *packets):
    host, _, port = body["listening"][0].removesuffix("/udp").rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for packet in packets:
            one.sendto(packet, (host, int(port)))


def test_records_become_usage_of_customers_and_an_answer_of_the_api(site: Folder) -> None:
    async def scenario(control):
        core, taker = control.core, Taker()
        core.flows = flows = Flows(site.path / "run" / "plane", site.path / "state", taker)
        await flows.adopt(core.site.settings.flows)
        send(flows.body(), v5([v5_record(ADDRESS, SERVER, 60, (4000, 25), 2), v5_record(SERVER, ADDRESS, 9000)], 7), b"nonsense" * 9)
        await until(lambda: taker.taken and flows.body()["totals"]["packets"] == 2, flows)
        send(flows.body(), v5([v5_record(SERVER, ADDRESS, 1)], 19))
        await until(lambda: flows.body()["totals"]["gaps"], flows)
        body, seen = await control.show_flows(), observe(core).flows
        await flows.close()
        return core.tables.row_of("c-1"), taker.taken, body, seen

    row, taken, body, seen = run(site, scenario)
    assert taken[0] == (Source.FLOWS, row, 9000, 60, 1)
    assert body["bad"]["version"] == 1
    exporter = body["exporters"][0]
    assert (exporter["address"], exporter["version"], exporter["records"]) == ("127.0.0.1", "netflow5", 3)
    assert (exporter["gaps"], exporter["lost"]) == (1, 10)
    assert (seen.records, seen.lost, seen.faults["version"]) == (3, 10, 1)
    text = json.dumps(body) + "\n".join(_flows(body))
    assert SERVER not in text
    assert ADDRESS not in text
    assert "1 version" in text


def test_a_shared_address_is_told_apart_by_ports_as_accounting_says(folder: Folder) -> None:
    folder.customers(
        [{"id": name, "terms": "gunma"} for name in ("c-1", "c-2")] + [{"id": "c-3", "terms": "gunma", "prefixes": ["203.0.113.4/30"]}]
    )
    folder.set(flows={"listen": ["127.0.0.1:0"], "exporters": ["127.0.0.1"], "interval": "1s"})

    async def scenario(control):
        core, taker, clock = control.core, Taker(), itertools.count(1e6, 1e3)
        table = core.sessions.table

        def told(kind, session, customer, ports):
            one = Accounting(kind, "bras", next(clock), session, customer, (), (Share(Prefix.parse(SHARED), ports),))
            changes = Changes()
            table.apply(one, customer, changes)
            core.sessions._commit(changes)

        async def usage(*records):
            taker.taken.clear()
            packets = flows.body()["totals"]["packets"]
            send(flows.body(), v5(records, 0))
            for _ in range(3_000):
                await flows.tick(next(clock))
                if flows.body()["totals"]["packets"] > packets:
                    break
                await asyncio.sleep(0.01)
            await flows.adopt(None)  # hands on what was summed
            await flows.adopt(core.site.settings.flows)
            return {row: (down, up) for _, row, down, up, _ in taker.taken}

        assert not any(SHARED in said for said in warnings(core))
        told(AccountingKind.START, "s-1", "c-1", Ports(1024, 2047))
        told(AccountingKind.START, "s-2", "c-2", Ports(2048, 3071))
        shares = FlowShares(table, core.tables.row_of)
        core.sessions.parted = shares.follow
        flows = core.flows = Flows(folder.path / "run" / "plane", folder.path / "state", taker, shares)
        await flows.adopt(core.site.settings.flows)
        one, other, fixed = (core.tables.row_of(name) for name in ("c-1", "c-2", "c-3"))
        apart = await usage(
            v5_record(SHARED, SERVER, 7, (1024, 443)), v5_record(SERVER, SHARED, 90, (443, 3071)), v5_record(SERVER, SHARED, 5, (443, 80))
        )
        assert apart == {one: (0, 7), other: (90, 0)}
        assert flows.body()["totals"]["shared"] == 1
        assert "(1 of shared addresses)" in "\n".join(_flows(flows.body()))
        assert observe(core).flows.shared == 1
        assert any("203.0.113.5" in said and "c-3" in said for said in warnings(core))
        # In force with the step of the table that it came with, and not a moment later.
        told(AccountingKind.STOP, "s-1", "c-1", Ports(1024, 2047))
        assert await usage(v5_record(SHARED, SERVER, 7, (1024, 443))) == {}
        assert flows.body()["totals"]["shared"] == 2
        told(AccountingKind.START, "s-3", "c-3", Ports(1024, 2047))
        assert await usage(v5_record(SHARED, SERVER, 8, (1024, 443))) == {fixed: (0, 8)}
        told(AccountingKind.STOP, "s-3", "c-3", Ports(1024, 2047))
        told(AccountingKind.STOP, "s-2", "c-2", Ports(2048, 3071))
        assert await usage(v5_record(SHARED, SERVER, 7, (1024, 443))) == {fixed: (0, 7)}, "nobody shares it any more"
        await flows.close()

    run(folder, scenario)


def test_an_address_that_is_taken_stops_nothing_and_is_told(folder: Folder) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        folder.set(flows={"listen": [f"127.0.0.1:{taken.getsockname()[1]}"], "exporters": ["127.0.0.1"]})

        async def scenario(control):
            flows = control.core.flows
            await flows.adopt(control.core.site.settings.flows)
            said = warnings(control.core)
            await asyncio.to_thread(taken.close)
            await flows.tick(1e9)
            return said, warnings(control.core), flows.body()["listening"]

        said, later, listening = run(folder, scenario)
    assert any("flow records cannot be received" in one for one in said)
    assert not any("flow records" in one for one in later)
    assert len(listening) == 1


def test_a_reload_changes_who_may_export(site: Folder) -> None:
    async def scenario(control):
        flows = control.core.flows
        await flows.adopt(control.core.site.settings.flows)
        site.set(flows={"listen": ["127.0.0.1:0"], "exporters": ["127.0.0.9"], "interval": "1s"})
        await control.reload(actor="uid:0")
        send(flows.body(), v5([v5_record(ADDRESS, SERVER, 60)]))
        await until(lambda: flows.body()["bad"]["stranger"], flows)
        refused = flows.body()["stranger"]
        site.set(flows=None)
        await control.reload(actor="uid:0")
        return refused, flows.body()

    refused, body = run(site, scenario)
    assert refused == "127.0.0.1"
    assert body["configured"] is False
    assert "no flow records are collected" in "\n".join(_flows(body))


def test_usage_of_flows_comes_to_the_detectors(site: Folder) -> None:
    async def scenario(control):
        core = control.core
        await core.flows.adopt(core.site.settings.flows)
        send(core.flows.body(), v5([v5_record(SERVER, ADDRESS, 9000)]))
        await until(lambda: core.traffic.batches[Source.FLOWS], core.flows)
        return observe(core).usage_batches

    assert run(site, scenario)["flows"] == 1
