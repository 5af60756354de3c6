"""The policy zones other resolvers transfer, kept as terms, lists, opt-outs and measures say.

Owns when a change is published: one that comes alone at once, those that come together within `batch` as one
version. Lists are rendered and compared in threads, and a customer's change does not wait for them. The zones'
order is `rpz.order`'s, their form `rpz`'s, and who transfers them `drivers.policyprimary`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from sekisho.app.control_enforcement import garden_of
from sekisho.app.control_people import People
from sekisho.app.control_policyclients import Clients
from sekisho.app.control_tables import exemptions
from sekisho.config.policyzones import LONGEST_LABEL, PolicyZones
from sekisho.drivers.durable import write_file
from sekisho.ledger.state import State
from sekisho.lists.compile import version_of
from sekisho.lists.idn import to_wire
from sekisho.model.customers import Customer, Prefix
from sekisho.model.errors import SekishoError
from sekisho.model.lists import Action, ListDefinition
from sekisho.model.measures import Enforcement
from sekisho.rpz.journal import Change
from sekisho.rpz.listzone import ListContent, difference, list_content
from sekisho.rpz.order import GARDEN, SILENCED, Plan, answer_of, plan, standing
from sekisho.rpz.records import DROP, NODATA, PASSTHRU, client_ip, cname, tails
from sekisho.rpz.serials import following
from sekisho.rpz.zone import Content, Few, Timers, Zone
from sekisho.snapshot.build import Exemption
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList
from sekisho.terms.entitlement import profile_of

if TYPE_CHECKING:
    # Brings the library for DNS with it, which only a site that publishes zones needs.
    from sekisho.drivers.policyprimary import PrimaryThread

log = structlog.get_logger("sekisho.control")

GATHER = 0.02
"""Seconds a change waits for others of the same act."""
RETRY = 5.0
"""Seconds until a primary that could not be opened is tried again."""
_TURN = 200
"""Customers looked at before the loop's other tasks have their turn."""
_ALLOWED = "\0allow"
"""Stands for the networks of `allow:` among the customers, which have no such id."""
_FORM = 1
"""Of what is rendered: another one makes other zones of the same lists."""


class Entries(Protocol):
    """Who knows the lists in force with their names."""

    async def named(self, definition: ListDefinition, compiled: CompiledList) -> CompiledList: ...

    def compiled(self, definition: ListDefinition) -> CompiledList: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """What zones are made of, as it is when asked."""

    people: Callable[[], People]
    enforcement: Callable[[], Mapping[str, Enforcement]]
    lists: Entries
    state: State
    key: Key
    prefixes: Callable[[str], tuple[Prefix, ...]]
    """A customer's addresses now, those of sessions included; not those that are shared by port ranges."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A list as it was rendered, and of what."""

    content: ListContent
    compiled: CompiledList
    default: Action
    exceptions: tuple[Exemption, ...]


class Publisher:
    """Publishes the zones of the configuration in force; does nothing where it has none."""

    def __init__(self, sources: Sources, saved: Path, clock: Callable[[], float] = time.time) -> None:
        """`saved` is where serials are kept over a restart."""
        self.fault = ""
        self.plan: Plan | None = None
        self.clients = Clients()
        self.settings: PolicyZones | None = None
        self.zones: dict[str, Zone] = {}
        """By label; content and journal belong to the primary's loop."""
        self.thread: PrimaryThread | None = None
        self._sources = sources
        self._saved = saved
        self._clock = clock
        self._kept: dict[str, tuple[int, str]] = {}
        self._serials: dict[str, int] = {}
        self._made: dict[str, _Made] = {}
        self._changed: dict[str, None] = {}
        self._everyone = True
        self._wake, self._lists_wake = asyncio.Event(), asyncio.Event()
        self._clients_lock, self._lists_lock, self._keeping = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()

    def prefixes(self, customer: Customer) -> tuple[Prefix, ...]:
        """A customer's addresses, as they are published."""
        return self._sources.prefixes(customer.id)

    # What happened

    def customer_changed(self, identity: str) -> None:
        """A customer, what is in force for them, or their addresses changed."""
        if self.settings is not None:
            self._changed[identity] = None
            self._wake.set()

    def customers_changed(self, identities: Collection[str]) -> None:
        for identity in identities:
            self.customer_changed(identity)

    def tables_changed(self, *, everyone: bool) -> None:
        """A snapshot is in force: other lists or exceptions, and with `everyone` other customers or terms."""
        if self.settings is not None:
            self._everyone = self._everyone or everyone
            self._wake.set()
            self._lists_wake.set()

    async def adopt(self) -> None:
        """Publish as the configuration in force says. What keeps the primary from opening is in `fault`, and tried again."""
        settings = self._sources.people().site.settings.policy_zones
        async with self._clients_lock, self._lists_lock:
            if settings != self.settings:
                await self._close()
                self.settings = settings
                if settings is not None:
                    await self._open(settings)
        self.tables_changed(everyone=True)

    async def close(self) -> None:
        async with self._clients_lock, self._lists_lock:
            await self._close()
            self.settings = None

    async def run(self) -> None:
        """Publish what changes, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(self._wake, self._clients_lock, self._publish_clients))
            group.create_task(self._follow(self._lists_wake, self._lists_lock, self._publish_lists))

    async def _follow(self, wake: asyncio.Event, lock: asyncio.Lock, step: Callable[[PolicyZones], Awaitable[None]]) -> None:
        while True:
            await wake.wait()
            wake.clear()
            settings = self.settings
            if settings is None:
                continue
            if self.thread is None:
                await asyncio.sleep(RETRY)
                await self._open_again()
                wake.set()
                continue
            await asyncio.sleep(GATHER)
            try:
                async with lock:
                    if self.settings is settings and self.thread is not None:
                        await step(settings)
            except SekishoError as error:
                log.error("policy-zones-failed", error=str(error))  # noqa: TRY400 - the sentence says it all
            await asyncio.sleep(settings.batch)

    # Opening and closing

    async def _open(self, settings: PolicyZones) -> None:
        from sekisho.drivers.policyprimary import Primary, PrimaryThread  # noqa: PLC0415 - see above

        try:
            primary = await asyncio.to_thread(Primary, settings, self._clock)
            thread = PrimaryThread(primary)
            await asyncio.to_thread(thread.start)
        except SekishoError as error:
            self.fault = str(error)
            log.error("policy-zones-not-opened", error=self.fault)  # noqa: TRY400
            return
        self.fault, self.thread = "", thread
        self._kept = await asyncio.to_thread(self._read)
        self._serials = {label: serial for label, (serial, _) in self._kept.items()}
        self.plan, self.zones, self._made, self.clients, self._everyone = None, {}, {}, Clients(), True
        log.info("policy-zones-opened", zone=settings.zone)

    async def _open_again(self) -> None:
        async with self._clients_lock, self._lists_lock:
            if self.thread is None and self.settings is not None:
                await self._open(self.settings)

    async def _close(self) -> None:
        thread, self.thread, self.fault = self.thread, None, ""
        if thread is not None:
            await asyncio.to_thread(thread.stop)
            await self._keep(whole=True)
        self.plan, self.zones, self._made = None, {}, {}

    def _read(self) -> dict[str, tuple[int, str]]:
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            found = json.loads(self._saved.read_text("utf-8"))
            return {str(label): (int(serial), str(print_)) for label, (serial, print_) in found.items()}
        return {}

    async def _keep(self, *, whole: bool = False) -> None:
        """Keep the serials, one after the other: two writers would have one file aside."""
        async with self._keeping:
            await asyncio.to_thread(self._save, whole=whole)

    def _save(self, *, whole: bool = False) -> None:
        """Keep the serials; with `whole` what they stand for too, so that who has it is spared a transfer after a restart."""
        kept = dict(self._kept)
        for label, zone in list(self.zones.items()):
            made = self._made.get(label)
            print_ = _list_print(made, zone) if made is not None else _client_print(zone) if whole else ""
            kept[label] = zone.serial, print_
        with contextlib.suppress(OSError):
            write_file(self._saved, json.dumps({label: list(one) for label, one in kept.items()}).encode())

    # Clients

    async def _publish_clients(self, settings: PolicyZones) -> None:
        people = self._sources.people()
        made = self._planned(people, settings)
        changed, self._changed = self._changed, {}
        if made != self.plan or self._everyone:
            self._everyone = False
            clients = await asyncio.to_thread(self._everybody, people, made)
            for identity in changed:
                self._look_at(clients, people, made, identity)
            known = [label for label in made.client_zones() if label in self.zones]
            clients.follow(self.clients, known)
            changed, self._changed = self._changed, {}
            await self._replan(made, clients, people, settings)
        for number, identity in enumerate(changed, 1):
            self._look_at(self.clients, people, made, identity)
            if number % _TURN == 0:
                await asyncio.sleep(0)
        changes = self.clients.take()
        for label, (gone, come) in changes.items():
            behind = self._behind(label, people, settings)
            change = Change(_records(gone, behind), _records(come, behind))
            self._change(label, change)
        if changes:
            await self._keep()

    def _look_at(self, clients: Clients, people: People, made: Plan, identity: str) -> None:
        customer = people.find(identity)
        if customer is None:
            clients.put(identity, None)
            return
        what = self._sources.enforcement().get(identity)
        mask = people.entitlement(customer, self._clock()).mask
        stands = standing(
            made.class_of(customer.terms),
            mask,
            silenced=what is not None and what.silenced,
            garden=what is not None and what.garden and made.garden,
        )
        clients.put(identity, stands, self._sources.prefixes(customer.id) if stands.zone is not None else ())

    def _everybody(self, people: People, made: Plan) -> Clients:
        """All customers, in a thread: those of the file who are alike to the terms are worked out once."""
        clients, now = Clients(), self._clock()
        file, state, enforced = people.site.customers, self._sources.state, self._sources.enforcement()
        apart = {*list(state.customers), *list(state.opt_outs), *list(enforced)}
        groups, shared = file.groups()
        stands = [standing(made.class_of(one.terms), people.entitlement(one, now).mask, silenced=False, garden=False) for one in shared]
        if any(one.zone is not None or one.missed for one in stands):
            for identity, group in zip(file.ids(), groups.tolist(), strict=True):
                one = stands[group]
                if identity in apart or (one.zone is None and not one.missed):
                    continue
                customer = file.get(identity)
                if customer is not None:
                    clients.put(identity, one, self._sources.prefixes(customer.id))
        for identity in apart:
            self._look_at(clients, people, made, identity)
        for one_class in made.classes:
            if one_class.steps:
                clients.put(_ALLOWED + one_class.id, standing(one_class, 0, silenced=False, garden=False), people.site.settings.allow)
        return clients

    async def _replan(self, made: Plan, clients: Clients, people: People, settings: PolicyZones) -> None:
        """Another order, or all customers anew: zones come and go, and those that stay tell what differs."""
        wanted = (*made.client_zones(), *made.list_zones())
        for label in [label for label in self.zones if label not in wanted]:
            self._remove(label)
        self.plan, self.clients = made, clients
        for label in made.client_zones():
            if label in self.zones:
                continue
            content = Few()
            content.change(Change((), _records(clients.prefixes(label), self._behind(label, people, settings))))
            await asyncio.to_thread(self._create, label, content, settings)
        self._lists_wake.set()

    def _behind(self, label: str, people: People, settings: PolicyZones) -> tuple[bytes, ...]:
        """What a zone's triggers do, as the octets behind their owner."""
        ttl = int(settings.ttl)
        if label == SILENCED:
            return (cname(DROP, ttl),)
        if label == GARDEN:
            garden = garden_of(people.site.settings)
            return tails(garden.action, ttl) if garden is not None else (cname(NODATA, ttl),)
        return (cname(PASSTHRU, ttl),)

    # Lists

    async def _publish_lists(self, settings: PolicyZones) -> None:
        made, people = self.plan, self._sources.people()
        if made is None:
            return
        all_exceptions = exemptions(people.lists, self._sources.state.exceptions)
        for label, list_id in made.list_zones().items():
            definition = people.definition(list_id)
            compiled = self._sources.lists.compiled(definition)
            default = answer_of(definition, [profile_of(people.site.packs, (pack,), people.lists) for pack in people.site.packs])
            excepted = tuple(one for one in all_exceptions if one.order == definition.order)
            before = self._made.get(label)
            if before is not None and before.compiled is compiled and (before.default, before.exceptions) == (default, excepted):
                continue
            named = await self._sources.lists.named(definition, compiled)
            origin = self._origin(label, settings)
            content = await asyncio.to_thread(list_content, named, default, self._sources.key, origin, int(settings.ttl), excepted)
            # What renders it is compiled here, where nobody waits, and not at the first transfer.
            await asyncio.to_thread(next, content.blocks(), None)
            fresh = _Made(content, compiled, default, excepted)
            if before is None or label not in self.zones:
                self._made[label] = fresh
                await asyncio.to_thread(self._create, label, content, settings)
            else:
                change = await asyncio.to_thread(difference, before.content, content)
                self._made[label] = fresh
                if change is None or len(change):
                    self._put(label, content, change)
            log.info("policy-zone-published", list=list_id, records=len(content), left_out=content.left_out)
        await self._keep()

    # Zones

    def _planned(self, people: People, settings: PolicyZones) -> Plan:
        garden = any(one.garden for one in self._sources.enforcement().values()) or people.site.settings.walled_garden is not None
        packs = people.site.packs
        everybody = [profile_of(packs, (pack,), people.lists) for pack in packs]
        published = {one.id for one in people.lists if not self.withheld(one, settings)}
        classes = {one.id: profile_of(packs, tuple(pack for pack in one.terms if pack in packs), people.lists) for one in settings.classes}
        return plan(people.lists, everybody, published, classes, garden=garden)

    @staticmethod
    def withheld(definition: ListDefinition, settings: PolicyZones) -> str:
        """Why a list is not published; empty: it is."""
        if definition.sealed and definition.id not in settings.sealed:
            return (
                f"list {definition.id} is sealed and is not published: a policy zone is plain text on every resolver that transfers it, "
                "on the way there, in its files and its logs; name the list under `policy_zones.sealed` if that is wanted"
            )
        if len(f"list-{definition.id}") > LONGEST_LABEL:
            return f"list {definition.id} has an id too long for a zone's name; give it one of {LONGEST_LABEL - 5} characters at most"
        return ""

    def _origin(self, label: str, settings: PolicyZones) -> bytes:
        return to_wire(f"{label}.{settings.zone}")

    def _create(self, label: str, content: Content, settings: PolicyZones) -> None:
        """In a thread: a new zone. One that was served before with the same content keeps its serial."""
        name = f"{label}.{settings.zone}"
        zone = Zone(to_wire(name), name, Timers(ttl=int(settings.ttl)), 0, content, isinstance(content, Few))
        made = self._made.get(label)
        serial, print_ = self._kept.get(label, (None, ""))
        same = print_ and print_ == (_list_print(made, zone) if made is not None else _client_print(zone))
        zone.serial = serial if same and serial is not None else following(serial, self._clock())
        self.zones[label], self._serials[label] = zone, zone.serial

        def put(thread: PrimaryThread) -> None:
            thread.primary.serve(zone)

        self._call(put)

    def _change(self, label: str, change: Change) -> None:
        """A difference of a zone that is kept record by record."""
        zone, serial = self.zones[label], self._next(label)

        def put(thread: PrimaryThread) -> None:
            content = zone.content
            if isinstance(content, Few):
                content.change(change)
            zone.put(content, change, serial)
            thread.primary.notifier.changed(zone)

        self._call(put)

    def _put(self, label: str, content: Content, change: Change | None) -> None:
        zone, serial = self.zones[label], self._next(label)

        def put(thread: PrimaryThread) -> None:
            zone.put(content, change, serial)
            thread.primary.notifier.changed(zone)

        self._call(put)

    def _remove(self, label: str) -> None:
        zone = self.zones.pop(label)
        self._made.pop(label, None)

        def put(thread: PrimaryThread) -> None:
            thread.primary.withdraw(zone)

        self._call(put)

    def _next(self, label: str) -> int:
        self._serials[label] = following(self._serials.get(label), self._clock())
        return self._serials[label]

    def _call(self, step: Callable[[PrimaryThread], None]) -> None:
        thread = self.thread
        if thread is not None:
            thread.call(lambda: step(thread))


def _records(prefixes: list[Prefix], behind: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(client_ip(prefix) + text for prefix in prefixes for text in behind)


def _list_print(made: _Made, zone: Zone) -> str:
    told = (_FORM, version_of(made.compiled), made.default, made.exceptions, zone.origin, zone.timers)
    return hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()


def _client_print(zone: Zone) -> str:
    state = hashlib.blake2b(repr((_FORM, zone.origin, zone.timers)).encode(), digest_size=16)
    content = zone.content
    for record in sorted(content) if isinstance(content, Few) else ():
        state.update(record)
    return state.hexdigest()
