"""What the plane reads, kept as the record says: snapshots built and published, customers' rows.

Owns the order in which tables change, and when a change is in force. One lock: while all customers
are loaded anew a single row waits, so that no change is written into a table that is on its way
out. Does not own the tables' form (`drivers.tables`) nor the snapshots themselves (`control_snapshots`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from sekisho.app.control_enforcement import Enforcements
from sekisho.app.control_lender import Lender, NoLender
from sekisho.app.control_people import People
from sekisho.app.control_snapshots import Published, Snapshots, written
from sekisho.drivers.tables import TableWriter
from sekisho.ledger.state import State
from sekisho.model.customers import Customer, Prefix
from sekisho.model.errors import RefusedError
from sekisho.model.measures import NONE, Enforcement

log = structlog.get_logger("sekisho.control")

_TURN = 100
"""Rows written before the loop's other tasks have their turn."""
MANY = 10_000
"""Customers beyond whom a change is one load of all, and not a row each."""
MOST_SETTLED = 100_000
"""Customers with opt-outs whose rows are looked at once more at an end: a second or two."""
_PART = 5000
"""Customers remembered at once, likewise."""


class ZonePublisher(Protocol):
    """Who is to know of every change of what the tables say (`control_policyzones.Publisher`)."""

    def customer_changed(self, identity: str) -> None: ...

    def tables_changed(self, *, everyone: bool) -> None: ...


class Tables:
    """The control plane's tables, and the customers they were made of (`people`)."""

    def __init__(
        self,
        writer: TableWriter,
        snapshots: Snapshots,
        people: People,
        state: State,
        enforcements: Mapping[str, Enforcement] | None = None,
    ) -> None:
        """`enforcements` is what measures have in force, by customer."""
        self.people = people
        self.enforcements = Enforcements(enforcements or {})
        self.followers: list[Callable[[Collection[str]], None]] = []
        """Who else carries out what is in force: told which customers' changed, at once, and not waited for."""
        self.before_loads: list[Callable[[], Awaitable[None]]] = []
        """What they are waited for by before all customers are loaded for it: beside that it would take them many times as long."""
        self.lender: Lender = NoLender()
        self.publisher: ZonePublisher | None = None
        self._writer = writer
        self._snapshots = snapshots
        self._state = state
        self._lock = asyncio.Lock()
        self._wanted = 0
        self._done = 0
        self._loading = False
        self._late: set[str] = set()
        self._late_moves: set[Prefix] = set()
        self._whole = False
        """No load of all was broken off."""
        self.repaired: tuple[int, float] | None = None
        """The epoch by which a plane could not start, and when it said so last, monotonic seconds: told for a while (`control_machine`)."""

    @property
    def published(self) -> Published:
        """The snapshot in force."""
        return self._snapshots.published

    async def start(self, now: float) -> None:
        """Put the first snapshot and all customers in force: the saved one if it says what is in force now."""
        async with self._lock:
            await self._publish_all(self.people, now, fast=True)

    async def settle(self, enforcements: Mapping[str, Enforcement], now: float) -> bool:
        """When nothing is done any more: have the tables say what the record says, whatever was broken off before it was carried out.

        `enforcements` is what measures have in force, by customer. False if that takes loading all: the next start does.
        """
        await self._snapshots.finish()
        if not self._whole or self.is_behind() or not await self._snapshots.is_kept(self.people):
            return False
        told = self.enforcements.all()
        changed = {one: enforcements.get(one, NONE) for one in {*told, *enforcements} if told.get(one) != enforcements.get(one)}
        opted_out = [*self._state.opt_outs]
        if len(changed) > MANY or len(opted_out) > MOST_SETTLED:
            return False
        self.enforcements.put(changed)
        for customer in changed:
            self._enforce(self.people, customer)
        try:
            for number, one in enumerate(map(self.people.find, opted_out), 1):
                if one is not None:
                    self._writer.set_mask(one.id, self.people.entitlement(one, now).mask)
                if number % _TURN == 0:
                    await asyncio.sleep(0)
        except RefusedError:  # a customer whose row could not be written
            return False
        return True

    async def replace(self, people: People, now: float) -> None:
        """Put another configuration in force: its snapshot and all of its customers; the plane answers by them on return."""
        async with self._lock:
            await self._publish_all(people, now)
            self.people = people
        self._tell_publisher(None)
        await self._snapshots.taken()

    async def rebuild(self, now: float) -> None:
        """Build and publish what is known now; the plane answers by it on return. Callers that wait together share one build."""
        self._wanted += 1
        ticket = self._wanted
        async with self._lock:
            if self._done < ticket:
                reached = self._wanted
                await self._snapshots.publish(self.people, now)
                self._done = reached
                if self.publisher is not None:
                    self.publisher.tables_changed(everyone=False)
        await self._snapshots.taken()

    async def put(self, customer: Customer, now: float) -> None:
        """A customer's row, in force on return. A new combination of terms goes into the snapshot first."""
        if not self._snapshots.has(self.people.profile_number(customer.terms)):
            await self.rebuild(now)
        async with self._lock:
            row = self.people.row(customer, now)
            prefixes = tuple(dict.fromkeys((*row.prefixes, *self.lender.live_prefixes(customer.id))))
            self._writer.put_customer(self.enforcements.on_row(replace(row, prefixes=prefixes), self.people.grounds))
            # A fixed prefix that is on another's line now stays there.
            holders = {prefix: self.lender.holder(prefix) for prefix in row.prefixes}
            self._writer.give((prefix, name) for prefix, name in holders.items() if name is not None)
        self._tell_publisher(customer.id)

    async def remove(self, identity: str) -> None:
        async with self._lock:
            self._writer.remove_customer(identity)
        self._tell_publisher(identity)

    def move(self, moves: Mapping[Prefix, str | None]) -> bool:
        """Prefixes are on other customers' lines from now on; None: on nobody's whom we know, but for its fixed owner.

        In force on return, and in tables that are being loaded when they come in force. False if that could not be now,
        for a table that is full while another is loaded: `settled` waits until it is.
        """
        if not self.published.epoch:
            return True  # the tables that are to come are loaded with them
        if self._loading:
            self._late_moves.update(moves)
        owners = ((prefix, name if name is not None else self.people.fixed(prefix)) for prefix, name in moves.items())
        return self._writer.give(owners, may_grow=not self._loading)

    async def settled(self) -> None:
        """Wait until no tables are being loaded."""
        async with self._lock:
            pass

    async def enforce(self, customer: str, what: Enforcement) -> None:
        """What measures do to a customer from now on, all of it; on the customer's row on return, and on every row it gets later.

        Waits for nothing: not for a snapshot that is being built, and while all customers are loaded anew the row
        is written in the tables in force at once and in the others when they come in force. For a customer who is not
        known it is remembered. Raises RefusedError for a budget no row can have.
        """
        await self.enforce_all({customer: what})

    async def enforce_all(self, given: Mapping[str, Enforcement]) -> None:
        """The same for many customers; others' turns come in between. Raises RefusedError, and changes none, likewise.

        Where they are very many all customers are loaded anew instead, which is a matter of seconds for a million.
        """
        if len(given) > MANY and self.published.epoch:
            await self._load_enforced(given)
            self._tell_publisher(None)
            return
        self.enforcements.put(given)
        self._tell_enforcers(given)
        for number, customer in enumerate(tuple(given), 1):
            if self._loading:
                self._late.add(customer)
            self._enforce(self.people, customer)
            self._tell_publisher(customer)
            if number % _TURN == 0:
                await asyncio.sleep(0)

    def _tell_enforcers(self, given: Mapping[str, Enforcement]) -> None:
        for follow in self.followers:
            follow(given.keys())

    async def _load_enforced(self, given: Mapping[str, Enforcement]) -> None:
        self.enforcements.check(given)
        async with self._lock:
            self._whole = False
            each = iter(given.items())
            while part := dict(itertools.islice(each, _PART)):
                self.enforcements.put(part)
                await asyncio.sleep(0)
            self._tell_enforcers(given)
            for done in self.before_loads:
                await done()
            await self._load_customers(self.people, time.time())
            self._enforce_late(self.people)
            self._whole = True

    def enforced(self) -> Mapping[str, Enforcement]:
        """What was last told of each customer to whom anything is done."""
        return self.enforcements.all()

    def _enforce(self, people: People, identity: str) -> None:
        """Write what is in force for a customer now to the row."""
        customer = people.find(identity)
        if customer is None or not self.published.epoch:
            return
        # Who has no row yet gets it with the row.
        with contextlib.suppress(RefusedError):
            self._writer.set_standing(self.enforcements.on_row(people.contract(customer), people.grounds))

    async def refresh_mask(self, identity: str, now: float) -> None:
        """Lists in force for a customer as the record says now; in force on return.

        A customer who has gone meanwhile has no row, and nothing is in force for them.
        """
        async with self._lock:
            customer = self.people.find(identity)
            if customer is not None:
                self._writer.set_mask(identity, self.people.entitlement(customer, now).mask)
        self._tell_publisher(identity)

    def _tell_publisher(self, identity: str | None) -> None:
        """Tell who follows of a change of one customer, or of all."""
        if self.publisher is None:
            return
        if identity is None:
            self.publisher.tables_changed(everyone=True)
        else:
            self.publisher.customer_changed(identity)

    def is_behind(self) -> bool:
        """Whether another version of some list is there than the snapshot in force was built of."""
        return self._snapshots.is_behind(self.people)

    async def repair(self, now: float) -> None:
        """Write everything anew if a plane could not start by what was written: the files were damaged since."""
        if self._writer.is_wanted():
            self.repaired = (self.published.epoch, time.monotonic())
            log.warning("tables-written-anew", epoch=self.published.epoch)
            async with self._lock:
                await self._publish_all(self.people, now)

    def row_of(self, identity: str) -> int | None:
        """The row under which the plane counts a customer."""
        return self._writer.row_of(identity)

    @property
    def rows(self) -> Mapping[str, int]:
        """The row of every customer that ever had one since the machine started."""
        return self._writer.rows

    def heartbeat(self, now_ns: int) -> None:
        self._writer.heartbeat(now_ns)

    async def _publish_all(self, people: People, now: float, *, fast: bool = False) -> None:
        """Put a snapshot and all of its customers in force together: masks and profiles are of their snapshot."""
        self._whole = False
        staged = await self._snapshots.stage(people, fast=fast)
        await self._load_customers(people, now, staged.inputs.epoch if staged.is_written else None)
        self._snapshots.enter(staged, now)
        self._enforce_late(people)
        self._whole = True

    async def _load_customers(self, people: People, now: float, epoch: int | None = None) -> None:
        """Put all customers in force anew, with the staged snapshot of `epoch` if there is one. The lock is held."""
        unconsented: Counter[int] = Counter()
        count, allow = len(people), people.site.settings.allow
        began = time.monotonic()
        lent = self.lender.lent()
        # Most customers have an address and a prefix by log-in, where they log in.
        spare = 2 * count if people.site.settings.radius is not None else 0

        def load() -> None:
            bulk, rows = people.bulk(now, unconsented)
            bulk = self.enforcements.on_bulk(bulk, people.grounds)
            rows = [self.enforcements.on_row(row, people.grounds) for row in rows]
            self._writer.load_customers(bulk, rows, allow, count, epoch, lent(people), spare)

        self._late.clear()
        self._late_moves.clear()
        self._loading = True
        try:
            await asyncio.to_thread(written, load)
        finally:
            self._loading = False
        people.loaded(unconsented)
        log.info("customers-loaded", customers=count, seconds=round(time.monotonic() - began, 3))

    def _enforce_late(self, people: People) -> None:
        """Write what came in force while all were loaded, and stands in the tables of before alone."""
        for identity in self._late:
            self._enforce(people, identity)
        late = {prefix: self.lender.holder(prefix) for prefix in self._late_moves}
        self._writer.give((prefix, name if name is not None else people.fixed(prefix)) for prefix, name in late.items())
