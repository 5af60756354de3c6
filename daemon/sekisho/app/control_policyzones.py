"""The policy zones other resolvers transfer, kept as terms, lists, opt-outs and measures say.

Owns when a change is published: one that comes alone at once, those that come together within `batch` as one
version. Lists are rendered and compared in threads, and a customer's change does not wait for them. Who stands in which
zone is `control_policystanding`'s, their serials `control_policyserved`'s, their order `rpz.order`'s, their form `rpz`'s,
and who transfers them `drivers.policyprimary`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from sekisho.app.control_inputs import exemptions
from sekisho.app.control_people import People
from sekisho.app.control_policyaddresses import told, without
from sekisho.app.control_policyclients import Clients
from sekisho.app.control_policyserved import Served
from sekisho.app.control_policystanding import Sources, behind, everybody, excepted_names, look_at, planned, records, settle
from sekisho.config.policyzones import PolicyZones
from sekisho.lists.compile import version_of
from sekisho.lists.idn import to_wire
from sekisho.model.customers import Customer, Prefix
from sekisho.model.errors import SekishoError
from sekisho.model.lists import Action
from sekisho.rpz.journal import Change
from sekisho.rpz.listzone import ListContent, difference, list_content
from sekisho.rpz.order import Plan, answer_of
from sekisho.rpz.zone import Few, Zone
from sekisho.snapshot.build import Exemption
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


@dataclass(frozen=True, slots=True)
class _Made:
    """A list as it was rendered, and of what."""

    content: ListContent
    compiled: CompiledList
    default: Action
    exceptions: tuple[Exemption, ...]
    without: tuple[str, ...]
    """Who does not get its addresses, where it has some: another choice is another version."""

    def print(self) -> str:
        """Tells it from what was rendered of anything else."""
        return repr((version_of(self.compiled), self.default, self.exceptions, *self.without))


class Publisher:
    """Publishes the zones of the configuration in force; does nothing where it has none."""

    def __init__(self, sources: Sources, saved: Path, clock: Callable[[], float] = time.time) -> None:
        """`saved` is where serials are kept over a restart."""
        self.fault = ""
        self.plan: Plan | None = None
        self.clients = Clients()
        self.settings: PolicyZones | None = None
        self.served = Served(saved, clock)
        self._sources = sources
        self._clock = clock
        self._made: dict[str, _Made] = {}
        self._changed: dict[str, None] = {}
        self._everyone = True
        self._wake, self._lists_wake = asyncio.Event(), asyncio.Event()
        self._clients_lock, self._lists_lock = asyncio.Lock(), asyncio.Lock()

    @property
    def zones(self) -> dict[str, Zone]:
        """By label; content and journal belong to the primary's loop."""
        return self.served.zones

    @property
    def thread(self) -> PrimaryThread | None:
        """The primary's, while it is open."""
        return self.served.thread

    def addresses(self) -> dict[str, int]:
        """How many addresses of answers the zones hold, by list."""
        if self.plan is None:
            return {}
        return {list_id: self._made[label].content.addresses for label, list_id in self.plan.list_zones().items() if label in self._made}

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
            if settings is None:
                await self.served.forget()
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
        self.fault = ""
        await self.served.open(thread)
        self.plan, self._made, self.clients, self._everyone = None, {}, Clients(), True
        log.info("policy-zones-opened", zone=settings.zone)

    async def _open_again(self) -> None:
        async with self._clients_lock, self._lists_lock:
            if self.thread is None and self.settings is not None:
                await self._open(self.settings)

    async def _close(self) -> None:
        self.fault = ""
        await self.served.close()
        self.plan, self._made = None, {}

    # Clients

    async def _publish_clients(self, settings: PolicyZones) -> None:
        people = self._sources.people()
        made = planned(self._sources, people, settings)
        changed, self._changed = self._changed, {}
        if made != self.plan or self._everyone:
            self._everyone = False
            clients = await asyncio.to_thread(everybody, self._sources, people, made, self._clock())
            for identity in changed:
                look_at(self._sources, clients, people, made, identity, self._clock())
            settle(clients, made)
            known = [label for label in made.client_zones() if label in self.zones]
            clients.follow(self.clients, known)
            changed, self._changed = self._changed, {}
            await self._replan(made, clients, people, settings)
        for number, identity in enumerate(changed, 1):
            look_at(self._sources, self.clients, people, made, identity, self._clock())
            if number % _TURN == 0:
                await asyncio.sleep(0)
        settle(self.clients, made)
        changes: dict[str, Change] = {}
        for label, (gone, come) in self.clients.take().items():
            tail = behind(label, people, settings)
            changes[label] = Change(records(gone, tail), records(come, tail))
        if changes:
            await self.served.change(changes)

    async def _replan(self, made: Plan, clients: Clients, people: People, settings: PolicyZones) -> None:
        """Another order, or all customers anew: zones come and go, and those that stay tell what differs."""
        self._withdraw(made)
        self.plan, self.clients = made, clients
        for label in made.client_zones():
            if label in self.zones:
                continue
            content = Few()
            content.change(Change((), records(clients.prefixes(label), behind(label, people, settings))))
            await self.served.create(label, content, settings)
        self._lists_wake.set()

    def _withdraw(self, made: Plan) -> None:
        wanted = (*made.client_zones(), *made.list_zones())
        for label in [label for label in self.zones if label not in wanted]:
            self.served.remove(label)
            self._made.pop(label, None)

    # Lists

    async def _publish_lists(self, settings: PolicyZones) -> None:
        made, people = self.plan, self._sources.people()
        if made is None:
            return
        self._withdraw(made)  # what was rendered by the order of before while this one came
        all_exceptions = exemptions(people.lists, self._sources.state.exceptions)
        for label, list_id in made.list_zones().items():
            definition = people.definition(list_id)
            compiled = self._sources.lists.compiled(definition)
            default = answer_of(definition, [profile_of(people.site.packs, (pack,), people.lists) for pack in people.site.packs])
            excepted = tuple(one for one in all_exceptions if one.order == definition.order)
            before = self._made.get(label)
            same = before is not None and before.compiled is compiled and (before.default, before.exceptions) == (default, excepted)
            if same and label in self.zones:
                continue
            named = await self._sources.lists.named(definition, compiled)
            origin = to_wire(f"{label}.{settings.zone}")
            names = excepted_names(self._sources.state.exceptions.get(list_id, {}).values())
            content = await asyncio.to_thread(list_content, named, default, self._sources.key, origin, int(settings.ttl), excepted, names)
            # What renders it is compiled here, where nobody waits, and not at the first transfer.
            await asyncio.to_thread(next, content.blocks(), None)
            fresh = _Made(content, compiled, default, excepted, without(settings) if content.addresses else ())
            if before is None or label not in self.zones:
                self._made[label] = fresh
                await self.served.create(label, content, settings, fresh.print(), sealed=definition.sealed)
            else:
                change = await asyncio.to_thread(difference, before.content, content)
                self._made[label] = fresh
                await self.served.put(label, content, change, fresh.print(), sealed=definition.sealed)
            log.info("policy-zone-published", list=list_id, records=len(content), left_out=content.left_out)
            if before is None or not before.content.addresses:
                for one in told(settings, {list_id: content.addresses}):
                    log.warning(
                        "policy-zone-addresses", list=list_id, secondaries=one["secondaries"], given=one["given"], why=one["reason"]
                    )
