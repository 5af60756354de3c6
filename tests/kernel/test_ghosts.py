"""Throttles nobody remembers, planted by hand with `tc`, `ip` and `nft`: none is left, and none keeps the rest from working."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator

import pytest

from kernel.gateway import gateway
from kernel.heavyuse import control, sekisho, two_lines
from scenarios.harness import Site
from sekisho.config.lines import LineMode
from sekisho.drivers import nftables
from sekisho.drivers.classes import Classes
from sekisho.model.measures import NONE, Enforcement
from support import wait_until
from support.netns import CUSTOMER, DOWN, NEIGHBOUR, SERVER, UP, Field, flows_freely, keeps_rate, transfer

pytestmark = pytest.mark.kernel
SLOW = Enforcement(rate=(8_000_000, 4_000_000))
UP_DEVICE = "sekisho-up"
GHOST = "192.0.2.7"
ROOT = f"qdisc add dev {DOWN} root handle 5ec1: htb default 77"
CLASS = f"class add dev {DOWN} parent 5ec1: classid 5ec1:77 htb rate 1mbit"
FILTER = f"filter add dev {DOWN} protocol ip parent 5ec1: prio 1 u32 match ip dst {GHOST}/32 flowid 5ec1:77"


def tc(field: Field, *commands: str) -> str:
    return "".join(field.gw("tc", *command.split()) for command in commands)


def throttles(field: Field) -> str:
    """All there is of ours, as the kernel's own programs show it, less what passed."""
    filters = tc(field, f"filter show dev {DOWN}") + "".join(
        tc(field, f"filter show dev {DOWN} parent {line.split()[2]}") for line in tc(field, f"class show dev {DOWN}").splitlines()
    )
    classes = tc(field, f"class show dev {DOWN}")
    qdiscs = re.sub(r"direct_packets_stat \d+", "", tc(field, "qdisc show"))
    devices = "\n".join(line.split()[0] for line in field.gw("ip", "-br", "link").splitlines())
    return field.gw("nft", "list", "ruleset") + qdiscs + classes + filters + devices


def others(field: Field) -> str:
    return field.gw("nft", "list", "table", "inet", "other") + tc(field, f"qdisc show dev {UP}", f"class show dev {UP}")


@contextlib.contextmanager
def of_somebody(field: Field) -> Iterator[None]:
    """A table and a root that are not ours stay as they are."""
    field.gw("nft", f"add table inet other; add set inet other silence4_32 {{ type ipv4_addr; elements = {{ {GHOST} }}; }}")
    tc(field, f"qdisc add dev {UP} root handle 5ec2: htb default 1", f"class add dev {UP} parent 5ec2: classid 5ec2:1 htb rate 10gbit")
    before = others(field)
    try:
        yield
        assert others(field) == before
    finally:
        field.gw("nft", "delete table inet other")
        tc(field, f"qdisc del dev {UP} root")


async def look(one, *, sweep=False):
    one.lines.look_again()
    await one.lines.step()
    if sweep:
        one.lines._sweep_at = 0.0
        await one.lines.step()


def observing(one):
    site = one.sites[-1]
    one.sites.append(site.model_copy(update={"lines": site.lines.model_copy(update={"mode": LineMode.OBSERVE})}))


@pytest.mark.parametrize("at", ["the start", "a look"])
def test_a_planted_root_with_a_filter_goes_and_stops_nothing(field, at):
    async def story():
        if at == "the start":
            tc(field, ROOT, CLASS, FILTER)
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            if at == "a look":
                tc(field, f"qdisc del dev {DOWN} root", ROOT, CLASS, FILTER)
                await look(one)
            assert not one.lines.problems
            assert "5ec1:77" not in throttles(field)
            assert f"qdisc htb 5ec1: dev {DOWN} root refcnt" in tc(field, "qdisc show")
            assert "default 0x77" not in tc(field, "qdisc show")
            assert "5ec1:1 " in tc(field, f"class show dev {DOWN}")
            await one.enforce(c_2=SLOW)
            assert "5ec1:2 " in tc(field, f"class show dev {DOWN}")
            before = one.lines.repairs.total()
            await look(one)
            assert one.lines.repairs.total() == before, "it stays as it was made"

    asyncio.run(story())


@pytest.mark.parametrize("at", ["", " chain 5"])
@pytest.mark.parametrize("device", [DOWN, UP_DEVICE])
def test_a_filter_at_our_root_goes_and_so_does_the_class_it_leads_to(field, device, at):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            tc(field, CLASS.replace(DOWN, device), FILTER.replace(DOWN, device).replace(" prio", f"{at} prio"))
            await look(one, sweep=True)
            assert tc(field, f"filter show dev {device} parent 5ec1:") == ""
            assert "5ec1:77 " not in tc(field, f"class show dev {device}")
            assert "5ec1:1 " in tc(field, f"class show dev {device}")
            assert not one.lines.problems
            assert one.lines.repairs["classes"] == 2

    asyncio.run(story())


@pytest.mark.parametrize(
    "harm",
    [
        (f"filter add dev {DOWN} protocol ip parent 5ec1:1 prio 1 u32 match ip dst {CUSTOMER}/32 flowid 5ec1:1",),
        (f"class add dev {DOWN} parent 5ec1:1 classid 5ec1:78 htb rate 1mbit",),
        (
            f"class add dev {DOWN} parent 5ec1: classid 5ec1:77 htb rate 1mbit",
            f"class add dev {DOWN} parent 5ec1:77 classid 5ec1:78 htb rate 1mbit",
        ),
        (f"class add dev {DOWN} parent 5ec1: classid 5ec1:77 htb rate 10gbit",),
        (f"qdisc add dev {UP_DEVICE} root tbf rate 1mbit burst 10k latency 50ms",),
    ],
)
def test_what_is_planted_below_our_roots_or_on_our_device_goes(field, harm):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            before = throttles(field)
            if UP_DEVICE in harm[0]:
                tc(field, f"qdisc del dev {UP_DEVICE} root")
            tc(field, *harm)
            await look(one, sweep=True)
            assert sorted(throttles(field).splitlines()) == sorted(before.splitlines())
            assert not one.lines.problems

    asyncio.run(story())


@pytest.mark.parametrize(
    "harm",
    [
        (f"class change dev {DOWN} parent 5ec1: classid 5ec1:1 htb rate 8280kbit ceil 500kbit",),
        (f"class change dev {DOWN} parent 5ec1: classid 5ec1:1 htb rate 8280kbit burst 1600 cburst 1600",),
        (f"class change dev {DOWN} parent 5ec1: classid 5ec1:1 htb rate 40gbit ceil 500kbit",),
        (f"qdisc replace dev {DOWN} parent 5ec1:1 handle 8: tbf rate 500kbit burst 10k latency 50ms",),
        (
            f"qdisc del dev {DOWN} parent 5ec1:1",
            f"qdisc add dev {DOWN} parent 5ec1:1 handle 1: tbf rate 500kbit burst 10k latency 50ms",
        ),
        # The handle another line's queue has to have.
        (f"qdisc replace dev {DOWN} parent 5ec1:1 handle 2: tbf rate 500kbit burst 10k latency 50ms",),
        (f"qdisc del dev {DOWN} parent 5ec1:1",),
    ],
)
def test_a_class_that_slows_more_than_it_should_is_made_what_it_was(field, harm):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            before = throttles(field)
            tc(field, *harm)
            await look(one)
            assert throttles(field) == before
            assert one.lines.repairs == {"classes": 1}
            await look(one)
            assert one.lines.repairs == {"classes": 1}

    asyncio.run(story())


def test_a_rate_beyond_32_bits_is_compared_with_its_ceil(field):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=Enforcement(rate=(40_000_000_000, 4_000_000)))
            before = throttles(field)
            tc(field, f"class change dev {DOWN} parent 5ec1: classid 5ec1:1 htb rate 41400mbit ceil 38gbit")
            await look(one)
            assert throttles(field) == before
            assert one.lines.repairs == {"classes": 1}

    asyncio.run(story())


def test_a_class_that_cannot_go_is_a_problem_of_its_own(field, monkeypatch):
    """The filter that holds it is one we cannot take away either."""

    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            with monkeypatch.context() as harm:
                harm.setattr(Classes, "filters", lambda *_: set())
                tc(field, CLASS, CLASS.replace("77", "78"), FILTER)
                await look(one, sweep=True)
                assert one.lines.problems == [f"HTB: class 5ec1:77 of {DOWN} is in use by somebody else and stays"]
                shown = tc(field, f"class show dev {DOWN}")
                assert "5ec1:78 " not in shown
                assert "rate 10Gbit" in shown.split("5ec1:77 ")[1].splitlines()[0], "it slows nobody"
                await one.enforce(c_1=NONE, c_2=SLOW)
                assert "5ec1:2 " in tc(field, f"class show dev {DOWN}")
                one.lines._unsure = True
                await look(one)
                assert len(one.lines.problems) == 1
                await one.enforce(c_1=SLOW)
                assert len(field.gw("nft", "list", "map", "inet", "sekisho", "down4_32").split("5ec1:")) == 3
            await look(one, sweep=True)
            assert "5ec1:77 " not in tc(field, f"class show dev {DOWN}")
            assert not one.lines.problems

    asyncio.run(story())


@pytest.mark.parametrize("how", ["on_stop", "observe", "no lines"])
def test_classes_go_though_our_device_is_gone(field, how):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            field.gw("ip", "link", "del", UP_DEVICE)
            if how == "observe":
                observing(one)
                await look(one)
            elif how == "no lines":
                one.sites.append(one.sites[-1].model_copy(update={"lines": None}))
                await look(one)
            if how != "on_stop":
                assert "5ec1" not in throttles(field)
        assert "5ec1" not in throttles(field)

    asyncio.run(story())


@pytest.mark.parametrize("more", [{"mode": "observe"}, {"shaping": False}])
@pytest.mark.parametrize("counters", [False, True])
def test_a_root_planted_where_no_line_is_slowed_goes(field, more, counters):
    async def story():
        with of_somebody(field):
            tc(field, ROOT, CLASS, FILTER)
            field.gw("ip", "link", "add", UP_DEVICE, "type", "ifb")
            async with gateway(field, counters=counters, **more) as one:
                assert "5ec1:" not in throttles(field)
                assert UP_DEVICE not in throttles(field)
                tc(field, ROOT, CLASS, FILTER)
                await look(one)
                assert "5ec1:" not in throttles(field)
                assert not one.lines.problems

    asyncio.run(story())


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_a_root_goes_though_rules_cannot_be_read_and_our_device_stays_since_they_may_lead_there(field, monkeypatch, mode):
    monkeypatch.setattr(nftables, "_LIBRARY", "libnothing-of-this-name.so.1")

    async def story():
        tc(field, ROOT, CLASS, FILTER)
        field.gw("ip", "link", "add", UP_DEVICE, "type", "ifb")
        async with gateway(field, mode=mode) as one:
            assert "libnftables1" in one.lines.problems[0]
            assert "5ec1:" not in throttles(field)
            tc(field, ROOT, CLASS, FILTER)
        assert "5ec1:" not in throttles(field)
        field.gw("ip", "link", "del", UP_DEVICE)

    asyncio.run(story())


def test_filters_that_are_no_part_of_our_root_stay_though_a_class_has_their_number(field):
    async def story():
        tc(field, f"qdisc add dev {DOWN} ingress", FILTER.replace("5ec1:77", "1:1").replace("5ec1:", "ffff:"))
        before = tc(field, f"filter show dev {DOWN} parent ffff:")
        assert before
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            tc(field, CLASS.replace("77", "ffff"))
            await look(one, sweep=True)
            assert "5ec1:ffff" not in tc(field, f"class show dev {DOWN}")
        assert tc(field, f"filter show dev {DOWN} parent ffff:") == before
        tc(field, f"qdisc del dev {DOWN} ingress")

    asyncio.run(story())


def test_a_device_of_another_kind_with_our_name_is_made_anew(field):
    async def story():
        field.gw("ip", "link", "add", UP_DEVICE, "type", "veth", "peer", "name", "other0")
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            assert not one.lines.problems
            shown = field.gw("ip", "-d", "link", "show", UP_DEVICE)
            assert "ifb" in shown
            assert "veth" not in shown

    asyncio.run(story())


@pytest.fixture
def site(field: Field, tmp_path) -> Iterator[Site]:
    with two_lines(field, tmp_path, "1h") as one:
        yield one


RULES = f"""
table inet sekisho {{
    limit m9_1 {{ rate over 1/minute burst 1 packets }}
    set silence4_32 {{ type ipv4_addr; counter; elements = {{ {NEIGHBOUR}, {GHOST} }}; }}
    set nomail4_24 {{ type ipv4_addr; elements = {{ {GHOST} }}; }}
    set mine {{ type ipv4_addr; elements = {{ {GHOST} }}; }}
    map down4_32 {{ type ipv4_addr : classid; elements = {{ {NEIGHBOUR} : 5ec1:77 }}; }}
    chain forward {{
        type filter hook forward priority mangle; policy accept;
        ip daddr {NEIGHBOUR} limit rate over 10 kbytes/second drop
        meta priority set ip daddr map @down4_32
    }}
}}
table netdev sekisho {{
    chain in {{ type filter hook ingress device "{DOWN}" priority 0; policy accept; ip saddr {NEIGHBOUR} fwd to "{UP_DEVICE}"; }}
}}
"""


def test_ghosts_planted_while_no_daemon_runs_are_gone_once_it_is_ready(field, site, tmp_path):
    """All there is to plant: elements, sets, a map, a limit, rules, chains, our device, roots, classes, a queue and a filter."""
    with of_somebody(field):
        field.gw("ip", "link", "add", UP_DEVICE, "type", "ifb")
        field.gw("ip", "link", "set", UP_DEVICE, "up")
        tc(field, ROOT, CLASS, FILTER, f"qdisc add dev {DOWN} parent 5ec1:77 handle 77: tbf rate 500kbit burst 10k latency 50ms")
        tc(field, ROOT.replace(DOWN, UP_DEVICE), CLASS.replace(DOWN, UP_DEVICE))
        tc(field, ROOT.replace(DOWN, "lo"), CLASS.replace(DOWN, "lo"))
        rules = tmp_path / "rules.nft"
        rules.write_text(RULES, encoding="utf-8")
        field.gw("nft", "-f", str(rules))
        with control(site) as (_, api):
            shown = throttles(field)
            for ghost in ("5ec1:77", "0x77", "77:", "htb 5ec1: dev lo", "m9_1", "nomail4_24", "mine", NEIGHBOUR, "kbytes/second", "tbf"):
                assert ghost not in shown, ghost
            with transfer(field, NEIGHBOUR, SERVER, up=False) as arrived:
                assert flows_freely(arrived)
            with transfer(field, NEIGHBOUR, SERVER, up=True) as arrived:
                assert flows_freely(arrived)
            api.post("/v1/measures", customer="c-1", clause="heavy/1", reason="a test", urgent=False)
            wait_until(lambda: "5ec1:1" in field.gw("nft", "list", "ruleset"), deadline=60, what="the line in the kernel")
            with transfer(field, CUSTOMER, SERVER, up=False) as arrived:
                assert keeps_rate(arrived, 10e6)
            assert api.get("/v1/lines")["unwanted"] == []
            assert api.get("/v1/lines")["problems"] == []
    assert "sekisho" not in throttles(field)


def test_what_was_planted_since_the_last_look_is_shown(field, site):
    with control(site) as (_, api):
        api.post("/v1/measures", customer="c-1", clause="heavy/1", reason="a test", urgent=False)
        wait_until(lambda: "5ec1:1" in field.gw("nft", "list", "ruleset"), deadline=60, what="the line in the kernel")
        tc(field, CLASS)
        field.gw("nft", "add", "element", "inet", "sekisho", "down4_32", "{", GHOST, ":", "5ec1:77", "}")
        assert api.get("/v1/lines")["unwanted"] == [
            {"what": "down", "prefix": f"{GHOST}/32"},
            {"what": "class", "prefix": None, "device": DOWN, "class": "5ec1:77"},
        ]
        assert api.get("/v1/lines", customer="c-1")["unwanted"] == []
        assert f"found and not wanted: class 5ec1:77 of {DOWN}; it goes with the next look" in sekisho(site, "lines", "show")
