"""Policy zones follow terms, opt-outs, measures, lists and addresses: batched, without growing, and over a restart."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import itertools
import json
import time
import zlib
from types import SimpleNamespace

import pytest

from sekisho.app.control_policyconfig import primaries_of
from sekisho.cli.verbs_rpz import _shown
from sekisho.config.policyzones import PolicyZones
from sekisho.config.values import Endpoint
from sekisho.model.errors import RefusedError
from sekisho.model.measures import Enforcement
from sekisho.rpz.serials import newer
from sekisho.rpz.snippets import BIND_ZONES
from sekisho.rpz.text import master_lines
from support.radius import SECRET, START, STOP, Nas, address, integer, prefix6
from unit.control.sites import ACTOR, CONSENT, CUSTOMERS, LISTS, SEALED, daemon

ZONES = {
    "zone": "rpz.test",
    "listen": "127.0.0.1:0",
    "batch": "100ms",
    "secondaries": [{"id": "one", "address": "127.0.0.1", "unsigned": True}],
}


@contextlib.asynccontextmanager
async def publishing(folder, **more):
    folder.set(policy_zones=ZONES | more)
    async with daemon(folder) as control:
        task = asyncio.create_task(control.core.zones.run())
        await control.core.zones.adopt()
        try:
            yield control
        finally:
            if task.done():
                task.result()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def held(control, label):
    """The lines of a zone as it is served."""
    zone = control.core.zones.zones.get(label)
    if zone is None:
        return None
    return sorted(line.split(" ")[0] for count, octets in zone.frozen() for line in master_lines(count, octets))


async def until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.01)


def client(address):
    return ".".join(["32", *reversed(address.split(".")), "rpz-client-ip"])


def test_zones_say_who_is_let_through_and_what_is_listed(folder):
    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: held(control, "list-c2"))
            assert held(control, "list-c2") == ["*.bot.example.com", "*.c2.example", "bot.example.com", "c2.example"]
            assert held(control, "pass-c2") == sorted(map(client, ["192.0.2.3", "192.0.2.4", "192.0.2.5"]))
            assert held(control, "silenced") == []
            await control.add_opt_out("c-2", "c2", until=None, by=None, actor=ACTOR)
            await until(lambda: len(held(control, "pass-c2")) == 5)
            assert "48.zz.2.db8.2001.rpz-client-ip" in held(control, "pass-c2")
            await control.core.tables.enforce("c-2", Enforcement(silenced=True, by=("nbnet/22-2-5",)))
            await until(lambda: client("192.0.2.2") in held(control, "silenced"))
            assert client("192.0.2.2") not in held(control, "pass-c2"), "who is silenced stands in no other zone"
            await control.core.tables.enforce("c-2", Enforcement())
            await until(lambda: held(control, "silenced") == [])
            await control.remove_customer("c-3", actor=ACTOR)
            await until(lambda: client("192.0.2.3") not in held(control, "pass-c2"))

    asyncio.run(scenario())


def test_churn_makes_few_versions_and_the_zone_does_not_grow(folder):
    """Customers who move from address to address, as RADIUS has them: many changes, one version for each batch."""

    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: held(control, "list-c2"))
            zones, changes, people = control.core.zones, 0, 20
            serials, began = [zones.zones["pass-c2"].serial], time.monotonic()
            for turn in range(10):
                for number in range(people):
                    record = {"id": f"m-{number}", "terms": "gunma", "prefixes": [f"10.0.{turn}.{number}"]}
                    await control.add_customer(record, replace=True, actor=ACTOR)
                    changes += 1
                    serial = zones.zones["pass-c2"].serial
                    if serial != serials[-1]:
                        serials.append(serial)
                    assert len(held(control, "pass-c2")) <= 3 + people
            took = time.monotonic() - began
            await until(
                lambda: (
                    held(control, "pass-c2")
                    == sorted(map(client, [*(f"192.0.2.{n}" for n in (3, 4, 5)), *(f"10.0.9.{n}" for n in range(people))]))
                )
            )
            assert all(newer(after, before) for before, after in itertools.pairwise(serials))
            assert len(serials) <= took / 0.1 + 2
            zone = zones.zones["pass-c2"]
            change = zone.journal.since(serials[0])
            assert change is not None
            assert len(change.added) == people, "what came and went is in no difference"
            assert not change.removed
            return changes, len(serials)

    changes, versions = asyncio.run(scenario())
    assert changes == 200
    assert versions < changes


def test_an_address_that_comes_by_log_in_is_a_trigger_for_as_long_as_the_session_lasts(folder):
    """Under whatever its customer stands in then, and under the next customer's once it is theirs."""
    folder.write("secret", SECRET.decode())
    folder.customers([*CUSTOMERS, {"id": "c-9", "terms": "gunma", "logins": ["hana@ppp.example"]}])
    folder.set(radius={"listen": ["127.0.0.1:0"], "nas": [{"id": "bras-1", "address": "127.0.0.1", "secret_file": "secret"}]})
    four, six, fixed = client("198.51.100.7"), "56.zz.77.db8.2001.rpz-client-ip", sorted(map(client, [f"192.0.2.{n}" for n in (3, 4, 5)]))

    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: held(control, "list-c2"))
            nas = Nas(control.core.sessions.radius.addresses[0][1])
            assert held(control, "pass-c2") == fixed
            lines = address("198.51.100.7") + prefix6("2001:db8:77::/56")
            await asyncio.to_thread(nas.tell, START, "s1", "hana@ppp.example", lines)
            await until(lambda: held(control, "pass-c2") == sorted([*fixed, four, six]))
            await control.core.tables.enforce("c-9", Enforcement(silenced=True, by=("nbnet/22-2-5",)))
            await until(lambda: held(control, "silenced") == sorted([four, six]))
            await until(lambda: held(control, "pass-c2") == fixed)
            await asyncio.to_thread(nas.tell, START, "s2", "hana@ppp.example", address("198.51.100.8"))
            await until(lambda: client("198.51.100.8") in held(control, "silenced"))
            await asyncio.to_thread(nas.tell, STOP, "s1", "hana@ppp.example", integer(46, 1))
            await until(lambda: held(control, "silenced") == [client("198.51.100.8")])
            await asyncio.to_thread(nas.tell, START, "s3", "c-4", lines)
            await until(lambda: held(control, "pass-c2") == sorted([*fixed, four, six]))
            await control.reload(actor=ACTOR)
            await asyncio.to_thread(nas.tell, STOP, "s2", "hana@ppp.example", integer(46, 1))
            await until(lambda: held(control, "silenced") == [])
            assert held(control, "pass-c2") == sorted([*fixed, four, six]), "all customers anew have their sessions' addresses too"
            nas.close()

    asyncio.run(scenario())


def test_customers_within_a_network_that_is_allowed_are_not_let_through_with_it(folder):
    """As on the plane, where their longer prefix comes first: those of the file, those added, those of log-ins."""
    folder.write("secret", SECRET.decode())
    folder.customers([*CUSTOMERS, {"id": "c-9", "terms": "gunma", "consent": CONSENT, "logins": ["hana@ppp.example"]}])
    folder.set(allow=["192.0.2.0/28", "198.51.100.0/24"])
    folder.set(radius={"listen": ["127.0.0.1:0"], "nas": [{"id": "bras-1", "address": "127.0.0.1", "secret_file": "secret"}]})

    def passes(control, text):
        there = ipaddress.ip_address(text)
        owners = [owner.split(".") for owner in held(control, "pass-c2") if ".zz." not in owner]
        return any(there in ipaddress.ip_network(f"{'.'.join(reversed(owner[1:5]))}/{owner[0]}") for owner in owners)

    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: held(control, "list-c2"))
            seen = {number: passes(control, f"192.0.2.{number}") for number in range(16)}
            assert [number for number, there in seen.items() if not there] == [1, 2], "whom the list reaches"
            added = {"id": "c-10", "terms": "gunma", "consent": CONSENT, "prefixes": ["192.0.2.8/30"]}
            await control.add_customer(added, replace=False, actor=ACTOR)
            await until(lambda: not passes(control, "192.0.2.9"))
            assert passes(control, "192.0.2.7")
            nas = Nas(control.core.sessions.radius.addresses[0][1])
            await asyncio.to_thread(nas.tell, START, "s-1", "hana@ppp.example", address("198.51.100.7"))
            await until(lambda: not passes(control, "198.51.100.7"))
            assert passes(control, "198.51.100.6")
            await asyncio.to_thread(nas.tell, STOP, "s-1", "hana@ppp.example", address("198.51.100.7") + integer(46, 1))
            await until(lambda: passes(control, "198.51.100.7"))
            await control.remove_customer("c-10", actor=ACTOR)
            await until(lambda: passes(control, "192.0.2.9"))
            nas.close()

    asyncio.run(scenario())


def test_a_restart_gives_no_new_serial_to_what_did_not_change(folder):
    async def serials():
        async with publishing(folder) as control:
            await until(lambda: held(control, "list-c2") and held(control, "pass-c2"))
            await asyncio.sleep(0)
            return {label: zone.serial for label, zone in control.core.zones.zones.items()}

    first = asyncio.run(serials())
    assert asyncio.run(serials()) == first
    folder.write("c2.txt", "c2.example\nother.example\n")
    last = asyncio.run(serials())
    assert last["pass-c2"] == first["pass-c2"]
    assert newer(last["list-c2"], first["list-c2"])


def kept_names(folder):
    """All that is kept of policy zones over a restart, as it is read."""
    found = json.loads((folder.path / "state" / "policyzones.json").read_text())
    return {label: zlib.decompress(base64.b64decode(one[2])) for label, one in found.items() if len(one) > 2}


def test_who_was_behind_when_the_daemon_was_restarted_gets_the_difference(folder):
    """As long as the zone is what it was; of sealed lists and of customers nothing is kept for it."""

    async def change_and_stop():
        async with publishing(folder, sealed=["csam"]) as control:
            zones = control.core.zones.zones
            await until(lambda: held(control, "list-c2") and held(control, "list-csam"))
            first = {label: zone.serial for label, zone in zones.items()}
            folder.write("c2.txt", "c2.example\nother.example\n")
            folder.write("csam.txt", f"{SEALED}\nsealed-other.example\n")
            await control.reload(actor=ACTOR)
            await control.add_opt_out("c-2", "c2", until=None, by=None, actor=ACTOR)
            await until(lambda: all(newer(zones[label].serial, first[label]) for label in ("list-c2", "list-csam", "pass-c2")))
            assert zones["list-csam"].journal.since(first["list-csam"]) is not None
            last = {label: zone.serial for label, zone in zones.items()}
            return first, last, zones["list-c2"].journal.since(first["list-c2"])

    async def started():
        async with publishing(folder, sealed=["csam"]) as control:
            await until(lambda: held(control, "list-c2") and held(control, "list-csam"))
            zones = control.core.zones.zones
            return (
                {label: zone.serial for label, zone in zones.items()},
                {label: zone.journal.since(first[label]) for label, zone in zones.items()},
            )

    first, last, change = asyncio.run(change_and_stop())
    kept = kept_names(folder)
    assert set(kept) == {"list-c2"}
    assert b"sealed" not in b"".join(kept.values())
    serials, changes = asyncio.run(started())
    assert serials == last
    assert len(change) == 4
    assert changes["list-c2"] == change
    assert changes["list-csam"] is changes["pass-c2"] is None
    # Still so after another start; not once the list is another.
    assert asyncio.run(started()) == (serials, changes)
    folder.write("c2.txt", "c2.example\nthird.example\n")
    serials, changes = asyncio.run(started())
    assert newer(serials["list-c2"], last["list-c2"])
    assert changes["list-c2"] is None


def test_a_sealed_list_is_withheld_unless_it_is_named(folder, capfd):
    async def scenario(**more):
        async with publishing(folder, **more) as control:
            await until(lambda: held(control, "list-c2") is not None)
            if more:
                await until(lambda: held(control, "list-csam"))
            return await control.show_policy_zones(), held(control, "list-csam")

    shown, none = asyncio.run(scenario())
    assert none is None
    (withheld,) = shown["withheld"]
    assert withheld["list"] == "csam"
    assert "plain text" in withheld["reason"]
    shown, names = asyncio.run(scenario(sealed=["csam"]))
    assert shown["withheld"] == []
    assert names == [SEALED]
    assert SEALED not in repr(shown)
    output = capfd.readouterr()
    assert SEALED not in output.out + output.err


def test_an_exception_takes_a_name_out_at_once(folder):
    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: held(control, "list-c2"))
            await control.add_exception("c2", "bot.example.com", subtree=True, reason="", actor=ACTOR)
            await until(lambda: held(control, "list-c2") == ["*.c2.example", "c2.example"])
            await control.add_exception("c2", "fine.c2.example", subtree=False, reason="", actor=ACTOR)
            await until(lambda: "fine.c2.example" in held(control, "list-c2"))
            assert held(control, "list-c2") == ["*.c2.example", "*.fine.c2.example", "c2.example", "fine.c2.example"]
            await control.remove_exception("c2", "fine.c2.example", actor=ACTOR)
            await until(lambda: held(control, "list-c2") == ["*.c2.example", "c2.example"])

    asyncio.run(scenario())


def test_a_reload_publishes_no_more_and_again(folder):
    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: held(control, "list-c2"))
            folder.set(policy_zones=None)
            await control.reload(actor=ACTOR)
            with pytest.raises(RefusedError, match="policy_zones"):
                await control.show_policy_zones()
            folder.set(policy_zones=ZONES | {"classes": [{"id": "gunma", "terms": ["gunma"]}]})
            await control.reload(actor=ACTOR)
            await until(lambda: held(control, "list-c2"))
            assert held(control, "pass-c2.gunma") == sorted(map(client, ["192.0.2.4", "192.0.2.5"]))
            assert held(control, "pass-c2") == [client("192.0.2.3")]
            text = (
                await control.policy_zone_configuration(
                    "bind", part="policy", secondary="one", primary=None, key_file=None, folder=None, clients=None
                )
            )["text"]
            assert 'view "sekisho-gunma"' in text
            assert "192.0.2.1/32" in text

    asyncio.run(scenario())


def test_what_bind_would_refuse_is_not_written_for_it(folder):
    """A list takes two zones, and those who are silenced one: 31 lists are 63 zones, 32 are 65."""
    settings = {"part": "", "secondary": "one", "primary": None, "key_file": None, "folder": None, "clients": None}

    def lists(count):
        folder.lists([LISTS[0], *(LISTS[0] | {"id": f"c2-{number}"} for number in range(1, count))])

    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: control.core.zones.plan is not None)
            text = (await control.policy_zone_configuration("bind", **settings))["text"]
            assert text.count("log no;") == BIND_ZONES - 1
            lists(32)
            await control.reload(actor=ACTOR)
            await until(lambda: len(control.core.zones.plan.list_zones()) == 32)
            with pytest.raises(
                RefusedError, match="64 policy zones in a view and those are 65, two for each list: publish fewer lists, or merge"
            ):
                await control.policy_zone_configuration("bind", **settings)
            others = (await control.policy_zone_configuration("unbound", **settings))["text"]
            assert others.count("rpz:\n") == BIND_ZONES + 1

    lists(31)
    asyncio.run(scenario())


@pytest.mark.parametrize("resolver", ["bind", "unbound", "recursor", "knot"])
def test_no_resolver_gets_the_configuration_of_another(folder, resolver):
    """It would be unsigned, or signed with a key that the one it is for has not."""
    settings = {"part": "", "primary": None, "key_file": None, "folder": None, "clients": None}

    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: control.core.zones.plan is not None)
            with pytest.raises(RefusedError, match=f"add one with `resolver: {resolver}` .*, or name with --secondary which of one it is"):
                await control.policy_zone_configuration(resolver, secondary=None, **settings)
            with pytest.raises(RefusedError, match="there is no secondary two"):
                await control.policy_zone_configuration(resolver, secondary="two", **settings)
            assert (await control.policy_zone_configuration(resolver, secondary="one", **settings))["text"]
            folder.set(
                policy_zones=ZONES | {"secondaries": [*ZONES["secondaries"], ZONES["secondaries"][0] | {"id": "two", "resolver": resolver}]}
            )
            await control.reload(actor=ACTOR)
            await until(lambda: control.core.zones.plan is not None)
            assert (await control.policy_zone_configuration(resolver, secondary=None, **settings))["text"]
            folder.set(policy_zones=ZONES | {"secondaries": []})
            await control.reload(actor=ACTOR)
            await until(lambda: control.core.zones.plan is not None)
            with pytest.raises(RefusedError, match=f"add one with `resolver: {resolver}` to `policy_zones.secondaries` and reload"):
                await control.policy_zone_configuration(resolver, secondary=None, **settings)

    asyncio.run(scenario())


ALL4, ALL6, HERE, LAN, LAN6 = "0.0.0.0", "::", "127.0.0.1", "192.0.2.1", "2001:db8::1"


@pytest.mark.parametrize(
    ("listen", "secondary", "primaries"),
    [
        ((HERE,), "127.0.0.1", (HERE,)),
        ((HERE,), "192.0.2.53", (HERE,)),
        ((HERE, LAN), "192.0.2.53", (LAN,)),
        ((HERE, LAN), "192.0.2.0/24", (LAN,)),
        ((LAN, HERE), "127.0.0.1", (HERE,)),
        ((LAN, LAN6), "2001:db8::53", (LAN6,)),
        ((LAN, "192.0.2.2", LAN6), "192.0.2.53", (LAN, "192.0.2.2")),
        ((LAN, HERE, "192.0.2.2"), "2001:db8::53", (LAN, "192.0.2.2")),
        ((ALL4, LAN6), "192.0.2.53", (LAN6,)),
        ((ALL4,), "192.0.2.53", ()),
        ((ALL6,), "2001:db8::53", ()),
        ((ALL6, HERE), "2001:db8::53", ()),
    ],
)
def test_a_resolver_is_told_the_addresses_by_which_it_reaches_us(listen, secondary, primaries):
    settings = PolicyZones.model_validate(
        {
            "zone": "rpz.test",
            "listen": [str(Endpoint(host, 5353 + number)) for number, host in enumerate(listen)],
            "secondaries": [{"id": "one", "address": secondary, "unsigned": True}],
        },
        context={},
    )
    zones = SimpleNamespace(thread=None)
    if not primaries:
        with pytest.raises(RefusedError, match=r"no address by which one \(.*\) reaches this machine: say with --primary"):
            primaries_of(zones, settings, settings.secondaries[0], "bind", None)
        return
    found = primaries_of(zones, settings, settings.secondaries[0], "bind", None)
    assert found == [Endpoint(host, 5353 + listen.index(host)) for host in primaries]


@pytest.mark.parametrize(
    ("named", "resolver", "told"),
    [
        ("192.0.2.9", "bind", "192.0.2.9 port {port};"),
        ("192.0.2.9:5400", "bind", "192.0.2.9 port 5400;"),
        ("[2001:db8::1]", "bind", "2001:db8::1 port {port};"),
        ("[2001:db8::1]:5400", "bind", "2001:db8::1 port 5400;"),
        ("primary.example:5400", "unbound", "primary: primary.example@5400"),
    ],
)
def test_a_resolver_is_told_what_is_said_of_where_we_are(folder, named, resolver, told):
    settings = {"part": "", "secondary": "one", "key_file": None, "folder": None, "clients": None}

    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: control.core.zones.plan is not None)
            text = (await control.policy_zone_configuration(resolver, primary=named, **settings))["text"]
            assert told.format(port=control.core.zones.thread.ports[0]) in text
            for wrong, why in (
                ("192.0.2.9:abc", "'abc' is no port"),
                ("2001:db8::1", "in brackets"),
                ("primary.example", "is no address"),
                ("0.0.0.0", "is no address a resolver can reach"),
            ):
                if resolver != "unbound" or wrong != "primary.example":
                    with pytest.raises(RefusedError, match=f"--primary: .*{why}"):
                        await control.policy_zone_configuration(resolver, primary=wrong, **settings)

    asyncio.run(scenario())


def test_a_file_of_a_sealed_list_is_refused_with_the_reason(folder, tmp_path):
    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: held(control, "list-c2"))
            for zone in ("list-csam.rpz.test", "pass-csam.rpz.test"):
                with pytest.raises(RefusedError, match=r"list csam is sealed and is not published: .* `policy_zones.sealed`"):
                    await control.export_policy_zones(str(tmp_path / "out"), zone, addresses=True, actor=ACTOR)
            for zone in ("list-nosuch.rpz.test", "csam"):
                with pytest.raises(RefusedError, match="there is no policy zone"):
                    await control.export_policy_zones(str(tmp_path / "out"), zone, addresses=True, actor=ACTOR)

    asyncio.run(scenario())


def test_who_learns_of_a_change_late_is_told(folder):
    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: control.core.zones.plan is not None)
            return await control.show_policy_zones()

    shown = asyncio.run(scenario())
    ((whom, reason),) = [(one["secondary"], one["reason"]) for one in shown["late"]]
    assert whom == "one"
    assert f"late          {reason}" in _shown(shown)


def test_files_are_written_once_for_each_version(folder, tmp_path):
    async def scenario():
        async with publishing(folder) as control:
            await until(lambda: held(control, "list-c2") and held(control, "pass-c2"))
            first = await control.export_policy_zones(str(tmp_path / "out"), None, addresses=True, actor=ACTOR)
            again = await control.export_policy_zones(str(tmp_path / "out"), None, addresses=True, actor=ACTOR)
            await control.add_opt_out("c-1", "c2", until=None, by=None, actor=ACTOR)
            await until(lambda: client("192.0.2.1") in held(control, "pass-c2"))
            last = await control.export_policy_zones(str(tmp_path / "out"), None, addresses=True, actor=ACTOR)
            with pytest.raises(RefusedError):
                await control.export_policy_zones(str(tmp_path / "out"), "none.rpz.test", addresses=True, actor=ACTOR)
            return first, again, last

    first, again, last = asyncio.run(scenario())
    assert "list-c2.rpz.test" in first["written"]
    assert again["written"] == []
    assert last["written"] == ["pass-c2.rpz.test"]
    assert f"{client('192.0.2.1')} 60 CNAME rpz-passthru.\n" in (tmp_path / "out" / "pass-c2.rpz.test.rpz").read_text()
    assert (tmp_path / "out" / "serials").read_text().startswith("list-c2.rpz.test ")


ADDRESSES = {"id": "c2", "category": "c2", "source": "c2.rpz", "format": "rpz", "zone": "feed.test"}
RECORDS = "c2.example CNAME .\n32.66.113.0.203.rpz-ip CNAME .\n32.77.113.0.203.rpz-ip CNAME .\n32.9.2.0.192.rpz-client-ip CNAME .\n"


def test_addresses_are_kept_from_who_may_be_unbound_and_that_is_told_and_another_choice_is_another_version(folder, tmp_path, capfd):
    folder.lists([ADDRESSES, LISTS[1]])
    folder.write("c2.rpz", f"$ORIGIN feed.test.\n{RECORDS}")

    async def scenario(**more):
        async with publishing(folder, **more) as control:
            await until(lambda: held(control, "list-c2"))
            zone = control.core.zones.zones["list-c2"]
            given = [
                sorted(line.split(" ")[0] for count, octets in zone.frozen(addresses=choice) for line in master_lines(count, octets))
                for choice in (True, False)
            ]
            for choice in (True, False):
                await control.export_policy_zones(str(tmp_path / "out"), "list-c2.rpz.test", addresses=choice, actor=ACTOR)
                assert ("rpz-ip" in (tmp_path / "out" / "list-c2.rpz.test.rpz").read_text()) is choice
            return given, zone.serial, await control.show_policy_zones(), (await control.status())["warnings"]

    (whole, less), first, shown, warned = asyncio.run(scenario())
    assert set(whole) - set(less) == {"32.66.113.0.203.rpz-ip", "32.77.113.0.203.rpz-ip"}
    assert less == ["32.9.2.0.192.rpz-client-ip", "c2.example"]
    (told,) = shown["addresses"]
    assert (told["list"], told["addresses"], told["secondaries"], told["given"]) == ("c2", 2, ["one"], False)
    assert "kept from one: from its cache Unbound stops by them customers who opted out" in told["reason"]
    assert "`resolver:`" in told["reason"], "it may be another resolver"
    assert told["reason"] in warned
    assert "policy-zone-addresses" in capfd.readouterr().out
    secondary = ZONES["secondaries"][0]
    _, second, shown, warned = asyncio.run(scenario(secondaries=[secondary | {"addresses": True}]))
    assert newer(second, first), "or who has the zone without them would never get them, nor lose them"
    (told,) = shown["addresses"]
    assert (told["secondaries"], told["given"]) == (["one"], True)
    assert told["reason"] in warned
    _, third, shown, warned = asyncio.run(scenario(secondaries=[secondary | {"resolver": "bind"}]))
    assert third == second, "it gets what it got"
    assert shown["addresses"] == []
    assert not any("rpz-ip" in one for one in warned)
    knot = secondary | {"id": "two", "resolver": "knot"}
    _, _, shown, warned = asyncio.run(scenario(secondaries=[secondary | {"resolver": "unbound", "addresses": False}, knot]))
    assert [(one["secondaries"], one["given"], one["asked_for"]) for one in shown["addresses"]] == [
        (["one"], False, True),
        (["two"], True, False),
    ]
    assert [one for one in warned if "rpz-ip" in one] == [shown["addresses"][1]["reason"]], "what the operator asked for is no warning"


def test_a_port_that_is_taken_is_said_and_the_daemon_goes_on(folder):
    async def scenario():
        async with publishing(folder) as one:
            port = one.core.zones.thread.ports[0]
            other = folder.path / "other"
            other.mkdir()
            fault = type(folder)(other)
            async with publishing(fault, listen=f"127.0.0.1:{port}") as control:
                shown = await control.show_policy_zones()
                assert str(port) in shown["fault"]
                reloaded = await control.reload(actor=ACTOR)
                return shown["fault"], reloaded["warnings"], await control.status()

    fault, warned, status = asyncio.run(scenario())
    assert status["customers"]["known"] == 5
    assert fault in status["warnings"], "whoever looks at the daemon sees that no zone is served"
    assert fault in warned
