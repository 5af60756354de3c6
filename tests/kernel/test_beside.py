"""The kernel is read back beside what is written: no change waits for it, is lost, is undone, or is taken for somebody else's."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest

from kernel.gateway import gateway
from sekisho.app import control_linelooks
from sekisho.enforce.state import MOST_NUMBERS
from sekisho.model.customers import V4_MAPPED, Customer, Prefix
from sekisho.model.measures import NONE, Enforcement
from support import wait_until
from support.netns import CUSTOMER, DOWN, NEIGHBOUR

pytestmark = pytest.mark.kernel
SILENT, SLOW = Enforcement(silenced=True), Enforcement(rate=(8_000_000, 4_000_000))
GHOST = "192.0.2.66"


@contextlib.asynccontextmanager
async def looking(one, *, seen):
    """A look that is held before it has seen anything, or (`seen`) before anything comes of what it has."""
    kernel, began, go = one.lines.kernel, asyncio.Event(), asyncio.Event()
    true = kernel.look

    async def held(where):
        if not seen:
            began.set()
            await go.wait()
        sight = await true(where)
        if seen:
            began.set()
            await go.wait()
        return sight

    kernel.look = held
    one.lines.look_again()
    step = asyncio.create_task(one.lines.step())
    try:
        await asyncio.wait_for(began.wait(), 30)
        yield
        kernel.look = true
    finally:
        go.set()
        await step


async def until_silent(field, many):
    """`nft` too is told some elements twice and others not, while the kernel gives their set more room."""
    await asyncio.to_thread(lambda: wait_until(lambda: len(silent(field)) == many, what=f"{many} silent addresses"))


def silent(field):
    """Addresses that are silenced, as `nft` shows them."""
    listed = json.loads(field.gw("nft", "-j", "list", "ruleset"))["nftables"]
    known = [item["set"].get("elem", []) for item in listed if item.get("set", {}).get("name") == "silence4_32"]
    return {element["elem"]["val"] for element in (known[0] if known else [])}


@pytest.mark.parametrize("seen", [False, True])
def test_a_change_during_a_look_is_in_force_at_once_and_neither_undone_nor_a_repair(field, seen):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_2=replace(SILENT, rate=SLOW.rate))
            async with looking(one, seen=seen):
                await one.enforce(c_1=replace(SILENT, rate=SLOW.rate, mail=3), c_2=NONE)
                assert silent(field) == {CUSTOMER}
            assert silent(field) == {CUSTOMER}
            assert "5ec1:2 " in field.gw("tc", "class", "show", "dev", DOWN)
            assert not one.lines.repairs.total()

    asyncio.run(story())


def test_a_ghost_goes_though_changes_go_on_while_it_is_found(field):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=replace(SILENT, rate=SLOW.rate))
            field.gw("nft", "add", "element", "inet", "sekisho", "silence4_32", "{", GHOST, "}")
            field.gw("nft", "add", "element", "inet", "sekisho", "down4_32", "{", GHOST, ":", "5ec1:99", "}")
            field.gw("tc", "class", "add", "dev", DOWN, "parent", "5ec1:", "classid", "5ec1:99", "htb", "rate", "1mbit")
            async with looking(one, seen=True):
                await one.enforce(c_2=SILENT)
            assert silent(field) == {CUSTOMER, NEIGHBOUR}
            assert GHOST not in field.gw("nft", "list", "ruleset")
            assert one.lines.repairs == {"tables": 2, "classes": 1}
            one.lines._sweep_at = 0.0
            await one.lines.step()
            assert "5ec1:99 " not in field.gw("tc", "class", "show", "dev", DOWN)
            assert "5ec1:1 " in field.gw("tc", "class", "show", "dev", DOWN)

    asyncio.run(story())


def test_what_somebody_else_did_and_then_we_is_not_done_again(field):
    """A ghost was seen where a measure comes into force before anything is done about it."""

    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=SILENT)
            field.gw("nft", "add", "element", "inet", "sekisho", "silence4_32", "{", NEIGHBOUR, "}")
            async with looking(one, seen=True):
                await one.enforce(c_2=SILENT)
            assert silent(field) == {CUSTOMER, NEIGHBOUR}
            assert not one.lines.repairs.total()

    asyncio.run(story())


def test_where_very_much_is_wrong_all_of_it_comes_back(field, monkeypatch):
    monkeypatch.setattr(control_linelooks, "MENDED", 50)

    async def story():
        async with gateway(field) as one:
            names = [f"x-{number}" for number in range(2500)]
            for number, name in enumerate(names):
                one.people.known[name] = Customer(name, ("t",), (Prefix(V4_MAPPED | 10 << 24 | number, 128),))
            one.wanted.update(dict.fromkeys(names, SILENT))
            one.lines.follow(names)
            await one.lines.step()
            await until_silent(field, 2500)
            field.gw("nft", "flush", "set", "inet", "sekisho", "silence4_32")
            one.lines.look_again()
            await one.lines.step()
            await until_silent(field, 2500)
            assert one.lines.repairs["tables"] == 2500
            one.wanted.clear()
            one.lines.follow(names)
            await one.lines.step()
            assert not silent(field)

    asyncio.run(story())


def test_what_was_not_told_is_found_by_a_look(field):
    async def story():
        async with gateway(field) as one:
            one.wanted["c-1"] = SILENT
            one.lines.look_again()
            await one.lines.step()
            assert silent(field) == {CUSTOMER}
            assert not one.lines.repairs.total()

    asyncio.run(story())


@pytest.mark.parametrize("who", ["c-1", "c-2"])
def test_an_address_two_customers_had_is_the_others_as_soon_as_one_gives_it_up(field, who):
    async def story():
        async with gateway(field) as one:
            known = one.people.known
            for name in known:
                known[name] = replace(known[name], prefixes=(Prefix.parse(CUSTOMER),))
            await one.enforce(c_1=SILENT)
            await one.enforce(c_2=SILENT)
            assert silent(field) == set()
            known[who] = replace(known[who], prefixes=(Prefix.parse(NEIGHBOUR),))
            one.lines.follow([who])
            await one.lines.step()
            assert silent(field) == {CUSTOMER, NEIGHBOUR}

    asyncio.run(story())


def test_more_lines_have_a_limit_of_mail_than_there_are_classes(field):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=Enforcement(mail=5), c_2=Enforcement(rate=SLOW.rate, mail=7))
            told = field.gw("nft", "list", "ruleset")
            assert f"m{MOST_NUMBERS + 1}_5" in told
            assert "m1_7" in told
            assert "rate over 7/minute burst 7 packets" in told
            await one.enforce(c_1=replace(SLOW, mail=5))
            told = field.gw("nft", "list", "ruleset")
            assert f"m{MOST_NUMBERS + 1}_5" not in told
            assert "m2_5" in told

    asyncio.run(story())


@pytest.mark.parametrize("harm", [("set", "sekisho-up", "down"), ("del", "sekisho-up")])
def test_our_device_is_made_what_it_was_and_led_to_again(field, harm):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            field.gw("ip", "link", *harm)
            one.lines.look_again()
            await one.lines.step()
            assert "UP" in field.gw("ip", "-br", "link", "show", "sekisho-up").split("<")[1]
            assert 'fwd to "sekisho-up"' in field.gw("nft", "list", "ruleset")
            assert "5ec1:1 " in field.gw("tc", "class", "show", "dev", "sekisho-up")

    asyncio.run(story())


def test_one_change_waits_for_no_other_thread_and_very_many_do_not_hold_up_the_daemon(field, monkeypatch):
    async def story():
        async with gateway(field) as one:
            both = replace(SILENT, rate=SLOW.rate, mail=3)
            one.people.known["c-1"] = Customer("c-1", ("t",), (Prefix.parse(CUSTOMER),))
            await one.enforce(c_2=both)
            kernel, apart = one.lines.kernel, []
            true = kernel._thread.run
            monkeypatch.setattr(kernel._thread, "run", lambda step: (apart.append(step), true(step))[1])
            await one.enforce(c_1=both)
            assert not apart
            assert silent(field) == {CUSTOMER, NEIGHBOUR}
            shown = field.gw("tc", "class", "show", "dev", DOWN)
            assert "5ec1:1 " in shown
            assert "5ec1:2 " in shown
            names = [f"x-{number}" for number in range(100)]
            for number, name in enumerate(names):
                one.people.known[name] = Customer(name, ("t",), (Prefix(V4_MAPPED | 10 << 24 | number, 128),))
            await one.enforce(**dict.fromkeys(names, SILENT))
            assert apart
            assert len(silent(field)) == 102
            assert not one.lines.problems

    asyncio.run(story())


def test_what_could_not_be_written_at_once_is_in_the_end_and_where_it_belongs(field):
    async def story():
        async with gateway(field, every="1s") as one:
            await one.enforce(c_2=SILENT)
            socket = one.lines.kernel._tables._writer._netlink._socket
            socket.detach()
            await one.enforce(c_1=SILENT)
            for _ in range(3_000):
                if not one.lines.problems and silent(field) == {CUSTOMER, NEIGHBOUR}:
                    break
                await asyncio.sleep(0.01)
                await one.lines.step()
            assert silent(field) == {CUSTOMER, NEIGHBOUR}
            assert not one.lines.problems
            await one.enforce(c_1=NONE)
            assert silent(field) == {NEIGHBOUR}

    asyncio.run(story())


def test_who_waits_for_what_was_told_goes_on_when_the_kernel_has_it(field):
    async def story():
        async with gateway(field) as one:
            running = asyncio.create_task(one.lines.run())
            await asyncio.wait_for(one.lines.written(), 30)
            many = [f"d-{number}" for number in range(3000)]
            for number, name in enumerate(many):
                one.people.known[name] = Customer(name, ("t",), (Prefix(V4_MAPPED | 10 << 24 | number, 128),))
            one.wanted.update(dict.fromkeys(many, SILENT))
            one.lines.follow(many)
            await asyncio.wait_for(one.lines.written(), 30)
            assert len(silent(field)) == len(many)
            running.cancel()

    asyncio.run(story())
