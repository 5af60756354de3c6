"""Measures on a real plane: in force with the next query over UDP and TCP, with or without a control plane, over its restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import dns.message
import dns.rcode
import pytest

from scenarios.harness import Resolver, Site, addresses, ask, folders, write_site
from sekisho.app.control_daemon import running
from sekisho.app.control_operations import Control
from sekisho.app.control_tables import Tables
from sekisho.drivers.site import load_site
from sekisho.drivers.tablereader import TableReader
from sekisho.model.counters import Counter
from sekisho.model.measures import Enforcement
from support import wait_until

pytestmark = pytest.mark.slow

NOTICE, NOTICE6, UPSTREAM = "192.0.2.80", "2001:db8::80", "198.51.100.7"
ONE, OTHER = "127.30.0.1", "127.30.0.2"
START = 600.0
"""Seconds a first start may take: it compiles."""
SILENCED, GARDENED = Enforcement(silenced=True, by=("nbnet/22-2-5",)), Enforcement(garden=True, by=("nbnet/22-1",))


@dataclass
class Field:
    site: Site
    plane: subprocess.Popen[bytes]

    def ask(self, source: str = ONE, name: str = "www.example.com", rdtype: str = "A", *, tcp: bool = False) -> dns.message.Message:
        return ask(self.site.host, self.site.port, source, name, rdtype, tcp=tcp)

    def led(self, source: str = ONE, name: str = "www.example.com") -> set[str]:
        """Where both transports lead; one place, or the table does not hold for both."""
        return addresses(self.ask(source, name)) | addresses(self.ask(source, name, tcp=True))

    def total(self, counter: Counter) -> int:
        return TableReader(self.site.runtime / "plane").observe().totals[counter]

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[tuple[Control, Tables]]:
        """A control plane beside the running plane, which starts with what measures have in force."""
        async with running(self.site.config, load_site(self.site.config)) as core:
            core.lists.keep_fresh(core.list_changed)
            yield Control(core), core.tables


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    people = [{"id": f"c-{number}", "terms": "nbnet", "prefixes": [address]} for number, address in ((1, ONE), (2, OTHER))]
    with Resolver().running() as resolver, folders(tmp_path_factory.mktemp("enforcement")) as (folder, runtime):
        garden = {"a": NOTICE, "aaaa": NOTICE6, "allow": "notice.example.com"}
        site = write_site(folder, runtime, [resolver.port], customers=people, walled_garden=garden, measures={"mode": "enforce"})
        with (folder / "plane.log").open("ab") as log:
            argv = [sys.executable, "-m", "sekisho.app.plane", "--config", str(site.config)]
            plane = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))
        one = Field(site, plane)
        try:
            asyncio.run(first(one))
            yield one
        finally:
            plane.terminate()
            plane.wait(30)


async def first(field: Field) -> None:
    """The first tables, and a plane that answers by them."""
    async with field.control():

        def alive() -> bool:
            assert field.plane.poll() is None, (field.site.folder / "plane.log").read_text()[-4000:]
            return TableReader(field.site.runtime / "plane").observe().workers_alive == 2

        await asyncio.to_thread(wait_until, alive, START, "a plane that answers")


async def settled(field: Field, tables: Tables) -> None:
    """Until the plane follows the tables this control plane published."""
    reader = TableReader(field.site.runtime / "plane")
    await asyncio.to_thread(wait_until, lambda: reader.observe().epoch == tables.published.epoch, 30, "the plane to take the tables")


def test_nbnet_22_1_a_suspended_customer_is_led_to_the_notice_page_with_the_next_query_and_back_with_the_next(field: Field) -> None:
    async def story() -> None:
        async with field.control() as (control, tables):
            await settled(field, tables)
            assert await asyncio.to_thread(field.led) == {UPSTREAM}
            for _ in range(5):
                await tables.enforce("c-1", GARDENED)
                assert await asyncio.to_thread(field.led) == {NOTICE}
                await tables.enforce("c-1", Enforcement())
                assert await asyncio.to_thread(field.led) == {UPSTREAM}
            await tables.enforce("c-1", GARDENED)
            assert addresses(await asyncio.to_thread(field.ask, ONE, "www.example.com", "AAAA")) == {NOTICE6}
            assert (await asyncio.to_thread(field.ask, ONE, "www.example.com", "HTTPS")).rcode() == dns.rcode.NOERROR
            assert await asyncio.to_thread(field.led, ONE, "www.notice.example.com") == {UPSTREAM}
            assert await asyncio.to_thread(field.led, OTHER) == {UPSTREAM}, "nobody else is led there"
            said = await control.explain(customer="c-1", address=None, port=0, name="www.example.com", qtype="A", tcp=False)
            assert (said["verdict"], said["measures"]["clauses"]) == ("gardened", ["nbnet/22-1"])

    asyncio.run(story())


def test_nbnet_22_2_5_a_silenced_customer_gets_nothing_until_it_ends(field: Field) -> None:
    asked, after = (dns.message.make_query("www.example.com", "A", id=number) for number in (1, 2))

    async def story(client: socket.socket) -> None:
        async with field.control() as (_, tables):
            await settled(field, tables)
            await tables.enforce("c-1", SILENCED)
            before = field.total(Counter.STEP_SILENCED)
            client.send(asked.to_wire())
            await asyncio.to_thread(wait_until, lambda: field.total(Counter.STEP_SILENCED) > before, 30, "the query to be taken")
            await tables.enforce("c-1", Enforcement())
            client.send(after.to_wire())

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((ONE, 0))
        client.connect((field.site.host, field.site.port))
        client.settimeout(30)
        asyncio.run(story(client))
        # Packets of one socket are dealt with in order: an answer to the first would have come before.
        assert dns.message.from_wire(client.recv(4096)).id == 2


def test_a_measure_outlasts_reloads_and_the_control_plane_that_put_it_there(field: Field) -> None:
    async def put() -> str:
        async with field.control() as (control, tables):
            await settled(field, tables)
            opened = await control.suspend("c-1", "nbnet/22-1", reason="a breach", urgent=True, actor="uid:0(root)")
            assert await asyncio.to_thread(field.led) == {NOTICE}
            await control.reload(actor="uid:0(root)")
            assert await asyncio.to_thread(field.led) == {NOTICE}
            return str(opened["id"])

    async def again(measure: str) -> None:
        async with field.control() as (control, tables):
            await settled(field, tables)
            assert await asyncio.to_thread(field.led) == {NOTICE}
            await control.lift_measure(measure, reason="mended", actor="uid:0(root)")
            assert await asyncio.to_thread(field.led) == {UPSTREAM}

    measure = asyncio.run(put())
    assert field.led() == {NOTICE}, "no control plane runs now"
    asyncio.run(again(measure))
