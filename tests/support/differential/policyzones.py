"""A world as policy zones: served by the product's primary, read by resolvers that the generated snippets configure.

The zones are named by their place in the order and not by their list, so that one configuration stands for every world:
`pass-0`, `list-0`, ... Each has a mark of the world it is of, which tells when a resolver has it in force.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from peers.rpzpeers import KEY as SIGNED_BY
from peers.rpzpeers import KNOT_KEY, OTHER_KEY, SECRET, ZONE, running_peer
from sekisho.app.control_policyallowed import Allowed
from sekisho.app.control_policyclients import Clients
from sekisho.app.control_policystanding import records
from sekisho.config.policyzones import PolicyZones
from sekisho.drivers.policyprimary import Primary, PrimaryThread, serving
from sekisho.lists.idn import to_wire
from sekisho.model.addresses import key_of as key_of_prefix
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, Trigger
from sekisho.rpz.journal import Change
from sekisho.rpz.listzone import list_content
from sekisho.rpz.order import GARDEN, SILENCED, Plan, Standing, answer_of, plan, standing
from sekisho.rpz.records import DROP, PASSTHRU, cname, tails
from sekisho.rpz.snippets import snippet
from sekisho.rpz.told import Told, View, ZoneTold
from sekisho.rpz.zone import Content, Few, Timers, Zone
from sekisho.snapshot.digest import digest_name
from sekisho.snapshot.entries import CompiledList
from support import free_port, wait_until
from support.differential.fronts import Front, Place
from support.differential.model import SILENCE, Verdict
from support.differential.world import ALLOWED, Held, Question, World
from support.plane import KEY, PAGE, compile_entries, definition, entry, exempt, exempt_prefix, profile, rule, wire

PLACES = 5
TTL = 60
PLAIN = "127.97.99.1"
"""Nobody's address, which no trigger has."""
_NXDOMAIN = Action(ActionKind.NXDOMAIN)


def plan_of(world: World) -> Plan:
    """The zones of a world, by the product's own rule."""
    lists = [definition(order, sealed=one.sealed, answer=one.answer) for order, one in enumerate(world.lists)]
    profiles = [profile(*(rule(said.clause, mandatory=said.mandatory) if said else None for said in terms)) for terms in world.terms]
    return plan(lists, profiles, {one.id for one in lists}, {}, garden=True)


def standings(world: World, made: Plan) -> Iterator[tuple[str, tuple[Prefix, ...], Standing]]:
    """Where each customer stands; a list that is in no clause of theirs does not reach them."""
    allowed = Allowed([Prefix.parse(ALLOWED)])
    for one in world.entitled():
        said = sum(1 << order for order, rule_ in enumerate(world.terms[one.profile]) if rule_ is not None)
        prefixes = tuple(part for prefix in one.prefixes for part in world.left(prefix))
        allowed.put(one.id, prefixes)
        yield one.id, prefixes, standing(made.classes[-1], one.mask & said, silenced=one.silenced, garden=one.garden)
    yield "allowed", allowed.left(), standing(made.classes[-1], 0, silenced=False, garden=False)


def mark(place: int, epoch: int) -> str:
    return f"m{epoch}.mark-{place}.example"


def marked(place: int, epoch: int) -> str:
    """An address in the zone of clients at a place: -1 `garden`, -2 `silenced`."""
    return f"127.97.{place + 10}.{epoch % 250 + 1}"


def with_names(held: Held, more: tuple[str, ...]) -> CompiledList:
    """A list with its names, and a mark at its end."""
    entries = held.compiled() + [entry(name, _NXDOMAIN, Trigger.EXACT) for name in more]
    names = [name for _, name in sorted((digest_name(one.name, KEY), one.name) for one in entries)]
    offsets = np.cumsum([0, *map(len, names[:-1])], dtype=np.int64) if names else np.empty(0, np.int64)
    return replace(compile_entries(entries), names=np.frombuffer(b"".join(names), np.uint8), offsets=offsets)


@dataclass
class Publication:
    """The zones in force, and who serves them. Stands for a checkpoint where a resolver is configured (`sekisho`)."""

    primary: Primary
    thread: PrimaryThread
    port: int
    zones: dict[str, Zone] = field(default_factory=dict)
    epoch: int = 0

    def publish(self, world: World, epoch: int) -> None:
        """Put a world's zones in force as `epoch`."""
        self.epoch, made = epoch, plan_of(world)
        clients = Clients()
        for name, prefixes, stands in standings(world, made):
            clients.put(name, stands, prefixes)
        steps = made.classes[-1].steps
        passing = {place: steps[place].passing if place < len(steps) else "" for place in range(PLACES)}
        for label, place, behind, held in (
            (SILENCED, -2, (cname(DROP, TTL),), clients.prefixes(SILENCED)),
            (GARDEN, -1, tails(PAGE, TTL), clients.prefixes(GARDEN)),
            *((f"pass-{place}", place, (cname(PASSTHRU, TTL),), clients.prefixes(passing[place])) for place in range(PLACES)),
        ):
            content = Few()
            content.change(Change((), records([*held, Prefix.parse(marked(place, epoch))], behind)))
            self._put(label, content, clients=True)
        profiles = [profile(*(rule(said.clause) if said else None for said in terms)) for terms in world.terms]
        for place in range(PLACES):
            order = steps[place].order if place < len(steps) else -1
            held = world.lists[order] if order >= 0 else Held({}, sealed=False, answer=None)
            named = with_names(held, (mark(place, epoch),))
            excepted = [(name, triggers) for of, name, triggers in world.exceptions if of == order]
            default = answer_of(definition(max(order, 0), answer=held.answer), profiles)
            exceptions, names = [exempt(order, *one) for one in excepted], [wire(name) for name, _ in excepted]
            unlisted = [prefix for of, prefix in world.unlisted if of == order]
            exceptions += [exempt_prefix(order, prefix, Trigger.CLIENT) for prefix in unlisted]
            names += [key_of_prefix(Prefix.parse(prefix), Trigger.CLIENT) for prefix in unlisted]
            spared = [prefix for of, prefix in world.spared if of == order]
            exceptions += [exempt_prefix(order, prefix) for prefix in spared]
            names += [key_of_prefix(Prefix.parse(prefix), Trigger.ADDRESS) for prefix in spared]
            label = f"list-{place}"
            self._put(label, list_content(named, default, KEY, to_wire(f"{label}.{ZONE}"), TTL, exceptions, names), clients=False)

    def _put(self, label: str, content: Content, *, clients: bool) -> None:
        name = f"{label}.{ZONE}"
        zone = self.zones.get(label)
        if zone is None:
            made = self.zones[label] = Zone(to_wire(name), name, Timers(ttl=TTL), self.epoch, content, clients)
            self.thread.call(lambda: self.primary.serve(made))
            return

        def change() -> None:
            zone.put(content, None, self.epoch)
            self.primary.notifier.changed(zone)

        self.thread.call(change)

    def sekisho(self, _rpz: str, _config: str, resolver: str, *arguments: str) -> dict[str, Any]:
        """`sekisho rpz config`, as the operator of a resolver calls it."""
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        zones = [ZoneTold(f"{SILENCED}.{ZONE}", True, "drop"), ZoneTold(f"{GARDEN}.{ZONE}", True, "garden")]
        for place in range(PLACES):
            zones += [ZoneTold(f"pass-{place}.{ZONE}", True, "pass"), ZoneTold(f"list-{place}.{ZONE}", False)]
        key = {"bind": (SIGNED_BY, "hmac-sha256"), "recursor": (OTHER_KEY, "hmac-sha256"), "knot": (KNOT_KEY, "hmac-sha256")}.get(resolver)
        told = Told("127.0.0.1", self.port, (View("", tuple(zones)),), key, options.get("--key-file", ""), options.get("--folder", ""))
        return {"text": snippet(resolver, told, options.get("--part", ""))}

    def follow(self, front: Front) -> None:
        """Wait until a resolver has every zone of this epoch."""

        def asked(place: int, source: str, rdtype: str = "TXT") -> Verdict:
            # An address could be held by a list before this one.
            return front.ask(Question(source, mark(place, self.epoch), rdtype, tcp=False, edns=True), 0.5)

        def there() -> bool:
            for place in range(PLACES):
                if asked(place, PLAIN).rcode != 3 or asked(place, marked(place, self.epoch)).kind != "answered":
                    return False
            return asked(0, marked(-1, self.epoch), "A").records != frozenset() and asked(0, marked(-2, self.epoch)) == SILENCE

        wait_until(there, deadline=60, what=f"the zones at {front.name}", interval=0.1)


PORTS: Mapping[str, str] = {"rpz-bind": "bind", "rpz-unbound": "unbound", "rpz-recursor": "recursor", "rpz-knot": "knot"}
"""The resolvers that are fed zones, by the names of their fronts."""


Ports = tuple[int, int]
"""Where a resolver is asked, and where it hears of changes."""


@contextlib.contextmanager
def publishing(folder: Path, ports: Mapping[str, Ports]) -> Iterator[Publication]:
    """A primary for resolvers that will listen at these ports, by the names of their fronts."""
    (folder / "rpz.secret").write_text(SECRET + "\n")
    local = "127.0.0.1"
    secondaries: dict[str, dict[str, object]] = {
        "rpz-bind": {"id": "bind", "resolver": "bind", "address": local, "key": SIGNED_BY},
        "rpz-recursor": {"id": "recursor", "resolver": "recursor", "address": local, "key": OTHER_KEY},
        "rpz-knot": {"id": "knot", "resolver": "knot", "address": local, "key": KNOT_KEY},
        "rpz-unbound": {"id": "unbound", "resolver": "unbound", "address": local, "unsigned": True},
    }
    document = {
        "zone": ZONE,
        "listen": [f"{local}:0"],
        "keys": [{"name": name, "secret_file": "rpz.secret"} for name in (SIGNED_BY, OTHER_KEY, KNOT_KEY)],
        "secondaries": [secondaries[name] | {"notify": f"{local}:{port}"} for name, (_, port) in ports.items()],
    }
    primary = Primary(PolicyZones.model_validate(document, context={"folder": folder}), time.time)
    with serving(primary) as (thread, (port,)):
        yield Publication(primary, thread, port)


@contextlib.contextmanager
def rpz_front(name: str, publication: Publication, place: Place, ports: Ports) -> Iterator[Front]:
    folder, (port, notify) = place.folder / name, ports
    with running_peer(PORTS[name], publication, folder, port, place.upstream, notify=notify) as peer:  # type: ignore[arg-type]
        front = Front(name, port, peer.process, folder / "log")
        publication.follow(front)
        yield front


def free_ports(names: list[str]) -> dict[str, Ports]:
    found = {}
    for name in names:
        if name in PORTS:
            port = free_port()
            found[name] = port, free_port() if PORTS[name] == "knot" else port
    return found
