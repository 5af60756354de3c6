"""The kernel's real state is read back and repaired; what is not ours is never touched."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from kernel.gateway import gateway
from sekisho.config.lines import LineMode
from sekisho.model.customers import Prefix
from sekisho.model.measures import NONE, Enforcement
from support.netns import CUSTOMER, DOWN, NEIGHBOUR, SERVER, UP

pytestmark = pytest.mark.kernel
ALL = Enforcement(silenced=True, rate=(8_000_000, 4_000_000), mail=5)


def ours(field):
    """The rules of both families, in one order: a table that is made anew is listed last."""
    return "table ".join(sorted(field.gw("nft", "list", "ruleset").split("table ")))


async def look(one):
    one.lines.look_again()
    await one.lines.step()


def elements(field, name):
    listed = json.loads(field.gw("nft", "-j", "list", "ruleset"))["nftables"]
    return [item[kind].get("elem", []) for item in listed for kind in ("set", "map") if kind in item and item[kind]["name"] == name]


def test_what_somebody_takes_away_comes_back_and_what_somebody_adds_goes(field):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=ALL)
            before = ours(field)
            field.gw("nft", "delete", "element", "inet", "sekisho", "silence4_32", "{", CUSTOMER, "}")
            field.gw("nft", "add", "element", "inet", "sekisho", "down4_32", "{", NEIGHBOUR, ":", "5ec1:1", "}")
            field.gw("tc", "class", "change", "dev", DOWN, "parent", "5ec1:", "classid", "5ec1:1", "htb", "rate", "1mbit")
            field.gw("nft", "flush", "chain", "inet", "sekisho", "names")
            await look(one)
            assert ours(field) == before
            assert "rate 8280Kbit" in field.gw("tc", "class", "show", "dev", DOWN)
            assert one.lines.repairs["tables"] == 2
            assert one.lines.repairs["classes"] == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    "harm",
    [
        ("delete", "table", "inet", "sekisho"),
        ("add", "set", "inet", "sekisho", "x", "{ type mark; }"),
        ("add", "set", "inet", "sekisho", "silence4_24", "{ type ipv4_addr; }"),
        ("add", "limit", "inet", "sekisho", "m9_5", "{ rate 5/second; }"),
        ("add", "table", "inet", "sekisho", "{ flags dormant; }"),
        ("chain", "inet", "sekisho", "forward", "{ policy drop; }"),
        ("insert", "rule", "inet", "sekisho", "silence", "accept"),
    ],
)
def test_a_table_that_is_gone_or_not_as_we_make_it_is_made_anew(field, harm):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=ALL)
            before = ours(field)
            field.gw("nft", *harm)
            await look(one)
            assert ours(field) == before

    asyncio.run(story())


def test_where_everybody_is_counted_in_one_table_it_is_taken_apart_and_nothing_else_is_made_anew(field):
    """As an older daemon left it."""
    field.gw(
        "nft",
        "add table inet sekisho; add set inet sekisho countqueries4_32 { type ipv4_addr; counter; };"
        f"add element inet sekisho countqueries4_32 {{ {CUSTOMER}, {NEIGHBOUR} }};"
        "add chain inet sekisho countqueries; add rule inet sekisho countqueries ip saddr @countqueries4_32 return",
    )
    before = field.gw("nft", "-a", "list", "tables")

    async def story():
        async with gateway(field, queries=True, resolvers=[SERVER]) as one:
            assert field.gw("nft", "-a", "list", "tables") == before
            assert elements(field, "countqueries4_32") == []
            assert [element["elem"]["val"] for element in elements(field, "countqueries4_32_a")[0]] == [CUSTOMER]
            await look(one)
            assert not one.lines.problems

    asyncio.run(story())


def test_a_throttle_that_nobody_remembers_goes_at_the_start(field):
    async def story():
        async with gateway(field, on_stop="leave") as one:
            await one.enforce(c_1=ALL, c_2=ALL)
        assert CUSTOMER in ours(field), "what was in force stays when the daemon stops"
        async with gateway(field) as one:
            assert "elements" not in ours(field)
            await one.enforce(c_1=NONE)
            one.lines._sweep_at = 0.0
            await one.lines.step()
            assert "5ec1:" not in field.gw("tc", "class", "show", "dev", DOWN).replace("5ec1: ", "")
        assert "sekisho" not in ours(field)

    asyncio.run(story())


def test_what_is_left_behind_and_still_in_force_is_taken_up_as_it_is(field):
    async def story():
        async with gateway(field, on_stop="leave") as one:
            await one.enforce(c_2=ALL)
            await one.enforce(c_1=ALL)
        before = ours(field)
        from kernel.gateway import LineCounts, Lines, settings_of

        people = one.people
        site = settings_of(field)
        again = Lines(lambda: site, lambda: people, lambda: {"c-1": ALL, "c-2": ALL}, LineCounts(lambda _: None))
        await again.step()
        assert ours(field) == before
        assert not again.repairs.total()
        await again.close()

    asyncio.run(story())


def test_what_is_not_ours_is_left_as_it_is(field):
    async def story():
        field.gw("nft", "add table inet other; add set inet other sekisho { type ipv4_addr; elements = { 192.0.2.10 }; }")
        field.gw("nft", "add table ip sekisho; add chain ip sekisho c { type filter hook input priority 0; }")
        field.gw("tc", "qdisc", "replace", "dev", UP, "root", "handle", "1:", "htb", "default", "1")
        field.gw("tc", "class", "add", "dev", UP, "parent", "1:", "classid", "1:1", "htb", "rate", "10gbit")

        def others():
            tables = field.gw("nft", "list", "table", "inet", "other") + field.gw("nft", "list", "table", "ip", "sekisho")
            return tables + field.gw("tc", "qdisc", "show", "dev", UP) + field.gw("tc", "class", "show", "dev", UP)

        before = others()
        async with gateway(field) as one:
            await one.enforce(c_1=ALL)
            await look(one)
            assert others() == before
        assert others() == before
        field.gw("nft", "delete table inet other; delete table ip sekisho")
        field.gw("tc", "qdisc", "del", "dev", UP, "root")

    asyncio.run(story())


def test_a_device_with_a_discipline_of_somebody_elses_is_told_and_the_rest_goes_on(field):
    async def story():
        field.gw("tc", "qdisc", "replace", "dev", DOWN, "root", "handle", "1:", "tbf", "rate", "1gbit", "burst", "1mb", "latency", "50ms")
        try:
            async with gateway(field) as one:
                await one.enforce(c_1=ALL)
                assert "tbf 1:" in one.lines.problems[0]
                assert "qdisc tbf 1:" in field.gw("tc", "qdisc", "show", "dev", DOWN)
                assert len(elements(field, "silence4_32")[0]) == 1
        finally:
            field.gw("tc", "qdisc", "del", "dev", DOWN, "root")
        assert "5ec1" not in field.gw("tc", "qdisc")

    asyncio.run(story())


def test_observing_does_nothing_and_takes_away_what_was_enforced(field):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=ALL)
            site = one.sites[-1]
            one.sites.append(site.model_copy(update={"lines": site.lines.model_copy(update={"mode": LineMode.OBSERVE})}))
            await look(one)
            assert "sekisho" not in ours(field) + field.gw("tc", "qdisc") + field.gw("ip", "link")

    asyncio.run(story())


def test_an_address_that_moves_from_one_customer_to_another_takes_nothing_along(field):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=ALL)
            known = one.people.known
            known["c-1"] = replace(known["c-1"], prefixes=(Prefix.parse("192.0.2.99"),))
            known["c-2"] = replace(known["c-2"], prefixes=(Prefix.parse(CUSTOMER),))
            one.lines.follow(["c-2"])
            await one.enforce(c_2=Enforcement(mail=0))
            assert elements(field, "nomail4_32") == [[CUSTOMER]]
            assert [element["elem"]["val"] for element in elements(field, "silence4_32")[0]] == ["192.0.2.99"]

    asyncio.run(story())


def test_without_the_section_what_an_earlier_configuration_did_goes(field):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=ALL)
            one.sites.append(one.sites[-1].model_copy(update={"lines": None}))
            await look(one)
            assert "sekisho" not in ours(field) + field.gw("tc", "qdisc") + field.gw("ip", "link")

    asyncio.run(story())
