"""Addresses customers share by ports, through the running daemon, and who is told who holds or held one."""

from __future__ import annotations

import time

import pytest

from sekisho.api.requests import BadRequestError
from sekisho.model.customers import Prefix
from support import radius, wait_until
from support.radius import INTERIM, START, STOP, address, integer
from unit.control.radiussites import DAY, MOBILE, configure, go, on, radius_site
from unit.control.sites import ACTOR


@pytest.fixture
def site(folder):
    return radius_site(folder)


def test_a_shared_address_is_nobodys_in_the_plane_and_known_by_its_ports(site):
    async def scenario():
        configure(site, ports={"range": "26.9.1", "address": "26.9.2"})
        async with on(site) as it:
            nas = await it.nas()
            for number, (customer, ports) in enumerate((("c-1", "1024-2047"), ("c-2", "2048-3071")), 1):
                inside = address(f"100.64.0.{number}")
                outside = radius.vendor(9, 1, f"ports={ports}".encode()) + radius.vendor(9, 2, b"203.0.113.1")
                await it.tell(nas, START, f"s{number}", customer, inside + outside)
            assert it.owner("203.0.113.1") is None
            assert (it.owner("100.64.0.1"), it.owner("100.64.0.2")) == ("c-1", "c-2")
            assert (await it.at("203.0.113.1", port=1500))["customer"] == "c-1"
            assert (await it.at("203.0.113.1", port=2048))["customer"] == "c-2"
            assert (await it.at("203.0.113.1", port=4000))["outcome"] == "unknown"
            assert (await it.at("203.0.113.1"))["outcome"] == "ambiguous"
            nas.close()

    go(scenario)


def test_a_shared_address_in_a_fixed_prefix_is_nobodys_while_it_is_shared(site):
    """No list, measure or consent of who has the prefix reaches those who share the address by ports."""

    async def scenario():
        configure(site, ports={"range": "26.9.1", "address": "26.9.2"})
        site.customers([*MOBILE, {"id": "c-30", "terms": "gunma", "prefixes": ["203.0.113.0/29"]}])
        outside = radius.vendor(9, 1, b"ports=1024-2047") + radius.vendor(9, 2, b"203.0.113.1")
        rest = tuple(Prefix.parse(text) for text in ("203.0.113.0", "203.0.113.2/31", "203.0.113.4/30"))
        async with on(site) as it:
            moved = []
            it.sessions.followers.append(moved.append)
            nas = await it.nas()
            assert (it.owner("203.0.113.1"), it.owner("203.0.113.2")) == ("c-30", "c-30")
            await it.tell(nas, START, "s1", "c-1", address("100.64.0.1") + outside)
            assert (it.owner("203.0.113.1"), it.owner("203.0.113.0"), it.owner("203.0.113.2")) == (None, "c-30", "c-30")
            assert any("c-30" in some for some in moved), "who limits lines is told"
            assert it.sessions.prefixes_of("c-30") == rest
            assert (await it.at("203.0.113.1", port=1500))["customer"] == "c-1"
            assert (await it.at("203.0.113.1", port=9000))["customer"] is None, "not who has the prefix around it"
            (fault,) = (await it.show())["faults"]
            assert "203.0.113.1" in fault
            assert "take it out of the prefixes of c-30" in fault
            await it.control.add_customer({"id": "c-31", "terms": "gunma", "prefixes": ["203.0.113.64/26"]}, replace=False, actor=ACTOR)
            await it.control.reload(actor=ACTOR)
            assert (it.owner("203.0.113.1"), it.owner("203.0.113.2")) == (None, "c-30")
            nas.close()
        async with on(site) as it:
            assert (it.owner("203.0.113.1"), it.owner("203.0.113.2")) == (None, "c-30"), "after a restart too"
            nas = await it.nas()
            await it.tell(nas, STOP, "s1", "c-1", integer(46, 5))
            assert it.owner("203.0.113.1") == "c-30"
            assert it.sessions.prefixes_of("c-30") == (Prefix.parse("203.0.113.0/29"),)
            assert not (await it.show())["faults"]
            nas.close()

    go(scenario)


def test_a_customer_of_just_the_shared_address_has_it_again_when_it_is_shared_no_more(site):
    async def scenario():
        configure(site, ports={"range": "26.9.1", "address": "26.9.2"})
        async with on(site) as it:
            nas = await it.nas()
            outside = radius.vendor(9, 1, b"ports=1024-2047") + radius.vendor(9, 2, b"203.0.113.1")
            await it.tell(nas, START, "s1", "c-1", address("100.64.0.1") + outside)
            await it.control.add_customer({"id": "c-32", "terms": "gunma", "prefixes": ["203.0.113.1"]}, replace=False, actor=ACTOR)
            assert (it.owner("203.0.113.1"), it.sessions.prefixes_of("c-32")) == (None, ())
            await it.tell(nas, STOP, "s1", "c-1", integer(46, 5))
            assert (it.owner("203.0.113.1"), it.sessions.prefixes_of("c-32")) == ("c-32", (Prefix.parse("203.0.113.1"),))
            nas.close()

    go(scenario)


def test_nobody_is_told_who_will_hold_an_address(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            with pytest.raises(BadRequestError, match="still to come"):
                await it.at("198.51.100.7", time.time() + DAY)
            with pytest.raises(BadRequestError, match="still to come"):
                await it.at("192.0.2.1", time.time() + DAY)
            assert (await it.at("198.51.100.7", time.time() + 1))["customer"] == "c-1", "a clock that is a little before ours"
            nas.close()

    go(scenario)


def test_who_asked_for_a_holder_is_on_the_record(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            await it.at("198.51.100.7")
            (event,) = [
                one for one in (await it.control.audit_events(after=0, limit=100, customer=None))["events"] if one["kind"] == "looked-up"
            ]
            assert event["actor"] == ACTOR
            assert (event["payload"]["customer"], event["payload"]["why"]) == ("c-1", "ticket 1")
            nas.close()

    go(scenario)


def ip_port_range(address4, first, last, alloc):
    """RFC 8045 section 3.1.2, in an Extended-Type-1 attribute."""
    parts = b"".join(
        bytes((kind, 6)) + value for kind, value in ((8, alloc.to_bytes(4)), (9, first.to_bytes(4)), (10, last.to_bytes(4)), (3, address4))
    )
    return radius.attribute(241, b"\x06" + parts)


def test_a_block_of_ports_that_is_never_given_back_ends_by_its_age(site):
    async def scenario():
        configure(site, block_age="2d", timeout=None)
        async with on(site) as it:
            nas, pool = await it.nas(), bytes((203, 0, 113, 1))
            await it.tell(nas, START, "s1", "c-1", address("100.64.0.1") + ip_port_range(pool, 1024, 2047, 1))
            await it.tell(nas, INTERIM, "s1", "c-1", integer(46, 5))
            began = time.time()
            assert (await it.at("203.0.113.1", port=1500))["customer"] == "c-1"
            await it.sessions.tick()
            it.core.clock = it.sessions._clock = lambda: began + 2 * DAY + 60
            assert (await it.at("203.0.113.1", port=1500))["customer"] == "c-1", "as far as is known"
            await it.sessions.tick()
            assert it.sessions.table.parts() == []
            assert it.owner("100.64.0.1") == "c-1", "the session goes on"
            it.sessions.history.write((), lambda: None)
            wait_until(lambda: it.sessions.history.waiting == 0)
            for when in (None, began + DAY):
                told = await it.at("203.0.113.1", when, port=1500)
                assert (told["outcome"], told["customer"]) == ("ambiguous", None)
                assert "ended by their age" in told["why"]
                (claim,) = told["claims"]
                assert (claim["customer"], claim["held_end"], claim["until"]) == ("c-1", "age", None)
            nas.close()
        configure(site, block_age=None, timeout=None)

    go(scenario)
