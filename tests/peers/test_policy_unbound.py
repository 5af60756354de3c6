"""Why Unbound gets zones whole that a client trigger went from, and lists without addresses: what its memory and its cache make of them."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from scenarios.harness import Resolver
from scenarios.harness.resolver import honest
from sekisho.config.policyzones import PolicyZones
from sekisho.drivers.policyprimary import Primary, PrimaryThread, serving
from sekisho.lists.compile import compile_feed
from sekisho.lists.idn import to_wire
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, ListDefinition, ListFormat
from sekisho.rpz.journal import Change
from sekisho.rpz.listzone import ListContent, difference, list_content
from sekisho.rpz.records import NODATA, PASSTHRU, client_ip, cname
from sekisho.rpz.zone import Few, Timers, Zone
from sekisho.snapshot.digest import key_of
from support import free_port, require_binary, wait_until
from support.differential.upstream import behave as aliasing
from support.unbound import FOREGROUND

pytestmark = pytest.mark.peers

CONFIG = (
    FOREGROUND
    + """\
    module-config: "respip iterator"
    do-not-query-localhost: no
    access-control: 127.0.0.0/8 allow
    interface: 127.0.0.1@{port}
{settings}
{zones}
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
"""
)
HELD = (client_ip(Prefix.parse("127.0.0.2")) + cname(NODATA, 5), client_ip(Prefix.parse("127.0.0.4")) + cname(NODATA, 5))


ZONES = """rpz:
    name: "{name}.rpz.test"
    primary: 127.0.0.1@{primary}
    allow-notify: 127.0.0.1
"""


@dataclass
class Fed:
    """An Unbound that has zones of a primary."""

    primary: Primary
    thread: PrimaryThread
    port: int
    upstream: Resolver

    def do(self, step: Callable[[], object]) -> None:
        """In the primary's loop, to its end."""
        done = threading.Event()

        def whole() -> None:
            step()
            done.set()

        self.thread.call(whole)
        assert done.wait(60)

    def ask(self, source: str, name: str = "www.example", patience: float = 60.0) -> list[str]:
        answer = dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=self.port, source=source, timeout=patience)
        return [record.to_text() for rrset in answer.answer for record in rrset]

    def is_up(self) -> bool:
        try:
            return self.ask("127.0.0.3", patience=2.0) is not None
        except (OSError, dns.exception.DNSException):
            return False


@contextlib.contextmanager
def fed(
    folder: Path,
    zones: Sequence[Zone],
    settings: str = "",
    behave: Callable[[bytes], list[tuple[bytes, bool]]] = honest,
    **secondary: object,
) -> Iterator[Fed]:
    """`settings` are lines of `server:`; `behave` is the resolver's behind it."""
    port = free_port()
    one = {"id": "one", "address": "127.0.0.1", "unsigned": True, "notify": f"127.0.0.1:{port}"} | secondary
    document = {"zone": "rpz.test", "listen": ["127.0.0.1:0"], "secondaries": [one]}
    primary = Primary(PolicyZones.model_validate(document, context={"folder": folder}))
    with Resolver(behave=behave).running() as upstream, serving(primary) as (thread, (listening,)):
        for zone in zones:
            thread.call(lambda zone=zone: primary.serve(zone))
        told = "".join(ZONES.format(name=zone.label.removesuffix(".rpz.test"), primary=listening) for zone in zones)
        (folder / "conf").write_text(CONFIG.format(folder=folder, port=port, settings=settings, zones=told, upstream=upstream.port))
        with (folder / "log").open("wb") as log:
            argv = [require_binary("unbound"), "-d", "-c", str(folder / "conf")]
            process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        found = Fed(primary, thread, port, upstream)
        try:
            wait_until(found.is_up, what="Unbound")
            yield found
        finally:
            process.terminate()
            process.wait(60)


def few(label: str, *records: bytes) -> Zone:
    content = Few()
    content.change(Change((), records))
    return Zone(to_wire(f"{label}.rpz.test"), f"{label}.rpz.test", Timers(), 1, content, clients=True)


@pytest.mark.parametrize("resolver", ["other", "unbound"])
def test_a_client_trigger_that_is_gone_is_gone_only_where_the_zone_came_whole(tmp_path: Path, resolver: str) -> None:
    zone = few("clients", *HELD)
    with fed(tmp_path, [zone], resolver=resolver) as site:
        wait_until(lambda: not site.ask("127.0.0.2"), what="the zone at Unbound")
        change = Change(HELD[:1], ())

        def lift() -> None:
            assert isinstance(zone.content, Few)
            zone.content.change(change)
            zone.put(zone.content, change, 2)
            site.primary.notifier.changed(zone)

        site.do(lift)
        (seen,) = site.primary.answers.allowed
        wait_until(lambda: seen.zones["clients.rpz.test"].serial == 2, what="the change at Unbound")
        assert not site.ask("127.0.0.4"), "the trigger that stays"
        if resolver == "unbound":
            assert seen.zones["clients.rpz.test"].kind == "axfr"
            wait_until(lambda: site.ask("127.0.0.2"), what="the trigger to be gone")
        else:
            assert seen.zones["clients.rpz.test"].kind == "ixfr"
            assert not site.ask("127.0.0.2"), "this version takes it away: say so in daemon/README.md"


def test_a_client_trigger_that_comes_is_in_force_by_a_difference_also_after_one_went(tmp_path: Path) -> None:
    zone = few("clients", HELD[0])
    with fed(tmp_path, [zone], resolver="unbound") as site:
        wait_until(lambda: not site.ask("127.0.0.2"), what="the zone at Unbound")
        (seen,) = site.primary.answers.allowed
        steps = (
            (Change((), HELD[1:]), "ixfr", (False, False)),
            (Change(HELD[:1], ()), "axfr", (True, False)),
            (Change((), HELD[:1]), "ixfr", (False, False)),
            (Change(HELD[1:], ()), "axfr", (False, True)),
        )
        for serial, (change, kind, answered) in enumerate(steps, 2):

            def lift(change: Change = change, serial: int = serial) -> None:
                assert isinstance(zone.content, Few)
                zone.content.change(change)
                zone.put(zone.content, change, serial)
                site.primary.notifier.changed(zone)

            site.do(lift)
            wait_until(
                lambda answered=answered: (bool(site.ask("127.0.0.2")), bool(site.ask("127.0.0.4"))) == answered,
                what=f"version {serial} at Unbound",
            )
            wait_until(lambda serial=serial: seen.zones["clients.rpz.test"].serial == serial, what="the primary to have counted it")
            assert seen.zones["clients.rpz.test"].kind == kind


ADDRESS = "198.51.100.7"
"""Where every name leads."""
LET_THROUGH = "127.0.0.2"


def listing(records: str) -> ListContent:
    definition = ListDefinition(id="one", order=0, category="c2", source="one", format=ListFormat.RPZ, zone="list.test")
    key = key_of(bytes(16))
    compiled = compile_feed(definition, f"$ORIGIN list.test.\n{records}".encode(), key, file="one").compiled
    return list_content(compiled, Action(ActionKind.NXDOMAIN), key, to_wire("list.rpz.test"), 60)


@pytest.mark.parametrize("addresses", [None, True])
def test_an_address_of_a_list_stops_from_unbounds_cache_whoever_is_let_through_so_it_gets_none(
    tmp_path: Path, addresses: bool | None
) -> None:
    """Whole and as a difference; the names of the list it gets."""
    names = "c2.example CNAME .\n*.c2.example CNAME .\n"
    first, second = listing(names), listing(f"{names}32.7.100.51.198.rpz-ip CNAME .\nmark.example CNAME .\n")
    change = difference(first, second)
    listed = Zone(to_wire("list.rpz.test"), "list.rpz.test", Timers(), 1, first)
    zones = [few("pass", client_ip(Prefix.parse(LET_THROUGH)) + cname(PASSTHRU, 60)), listed]
    with fed(tmp_path, zones, resolver="unbound", addresses=addresses) as site:
        wait_until(lambda: not site.ask("127.0.0.3", "c2.example"), what="the list at Unbound")
        wait_until(lambda: site.ask(LET_THROUGH, "a.c2.example"), what="who is let through at Unbound")

        def grow() -> None:
            listed.put(second, change, 2)
            site.primary.notifier.changed(listed)

        site.do(grow)
        wait_until(lambda: not site.ask("127.0.0.3", "mark.example"), what="the difference at Unbound")
        # The primary counts what it has written, which may be after Unbound has read it.
        wait_until(lambda: site.primary.answers.transfers["list.rpz.test", "ixfr"], what="a difference, and not the whole")
        if addresses:
            assert [site.ask("127.0.0.3", "n1.example"), site.ask(LET_THROUGH, "n2.example")] == [[], [ADDRESS]]
            assert site.ask(LET_THROUGH, "n2.example") == [], "this version lets through from its cache too: say so in daemon/README.md"
            return
        for name in ("n1.example", "n2.example"):
            assert [site.ask(LET_THROUGH, name) for _ in range(2)] == [[ADDRESS]] * 2, "from the resolver, and from the cache"
            assert site.ask("127.0.0.3", name) == [ADDRESS]
        assert site.upstream.asked["n1.example."] == 1, "the cache was asked"


@pytest.mark.parametrize("settings", ["    msg-cache-size: 0\n    msg-cache-slabs: 1", "    cache-max-ttl: 0"])
def test_an_alias_that_was_resolved_for_who_is_let_through_is_given_to_others_whatever_is_set_of_the_cache(
    tmp_path: Path, settings: str
) -> None:
    """The message cache keeps one message at the least, and those without time to live until the second is over."""
    names = [f"n{number}.example" for number in range(20)]
    listed = Zone(to_wire("list.rpz.test"), "list.rpz.test", Timers(), 1, listing("".join(f"{name} CNAME .\n" for name in names)))
    zones = [few("pass", client_ip(Prefix.parse(LET_THROUGH)) + cname(PASSTHRU, 60)), listed]
    with fed(tmp_path, zones, settings, aliasing, resolver="unbound") as site:
        wait_until(lambda: not site.ask("127.0.0.3", names[0]), what="the list at Unbound")
        wait_until(lambda: site.ask(LET_THROUGH, names[0]), what="who is let through at Unbound")
        assert ADDRESS not in site.ask("127.0.0.3", f"x-1.{names[1]}"), "resolved for one whom the list reaches"

        def given(name: str) -> bool:
            return ADDRESS in site.ask(LET_THROUGH, f"x-1.{name}") and ADDRESS in site.ask("127.0.0.3", f"x-1.{name}")

        # One of a few is in the cache for long enough, wherever the second ends.
        assert any(given(name) for name in names[2:]), "this version keeps them apart: say so in daemon/README.md, and set it"
