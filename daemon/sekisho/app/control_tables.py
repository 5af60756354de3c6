"""What the plane reads, kept as the record says: snapshots built and published, customers' rows.

Owns the order in which tables change, and when a change is in force. One lock: while all customers
are loaded anew a single row waits, so that no change is written into a table that is on its way
out. Does not own the tables' form (`drivers.tables`) nor what is compiled (`snapshot.build`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from sekisho.app.control_enforcement import Enforcements, garden_of
from sekisho.app.control_inputs import Compiled, Inputs, exemptions, fingerprint, make
from sekisho.app.control_people import People
from sekisho.app.control_saved import SavedSnapshot
from sekisho.drivers.tablereader import PlaneObservation
from sekisho.drivers.tablerows import Lent
from sekisho.drivers.tables import TableWriter
from sekisho.ledger.state import State
from sekisho.model.customers import Customer, Prefix
from sekisho.model.errors import RefusedError, TableError
from sekisho.model.measures import NONE, Enforcement
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList
from sekisho.snapshot.sections import renumber

log = structlog.get_logger("sekisho.control")

TAKEN_WITHIN = 5.0
"""Seconds the plane has to take a snapshot before what waits for it goes on."""
_TAKEN_POLL = 0.002
_TURN = 100
"""Rows written before the loop's other tasks have their turn."""
MANY = 10_000
"""Customers beyond whom a change is one load of all, and not a row each."""
MOST_SETTLED = 100_000
"""Customers with opt-outs whose rows are looked at once more at an end: a second or two."""
_PART = 5000
"""Customers remembered at once, likewise."""


class Lender(Protocol):
    """Who knows which prefixes customers have for now, besides their fixed ones (`app.control_sessions`)."""

    def live_prefixes(self, customer: str) -> tuple[Prefix, ...]: ...

    def holder(self, prefix: Prefix) -> str | None:
        """Whose line it is on; `SHARED` (`drivers.tablerows`): customers share it by ports."""
        ...

    def lent(self) -> Callable[[People], Lent]:
        """All of them as of now; what is given works them out for some customers, in any thread."""
        ...


class NoLender:
    """Nobody has any."""

    def live_prefixes(self, customer: str) -> tuple[Prefix, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def holder(self, prefix: Prefix) -> str | None:  # noqa: ARG002
        return None

    def lent(self) -> Callable[[People], Lent]:
        return lambda _: ()


class Watched(Protocol):
    """Who knows what the plane answers by."""

    def observe(self) -> PlaneObservation: ...


class ZonePublisher(Protocol):
    """Who is to know of every change of what the tables say (`control_policyzones.Publisher`)."""

    def customer_changed(self, identity: str) -> None: ...

    def tables_changed(self, *, everyone: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Published:
    """The snapshot in force. `built_at` is UNIX seconds; `seconds` what building it took."""

    epoch: int = 0
    built_at: float | None = None
    seconds: float = 0.0


class Tables:
    """The control plane's tables, and the customers they were made of (`people`)."""

    def __init__(
        self,
        writer: TableWriter,
        plane: Watched,
        people: People,
        state: State,
        lists: Compiled,
        key: Key,
        saved: SavedSnapshot,
        enforcements: Mapping[str, Enforcement] | None = None,
    ) -> None:
        """`saved` is the last good snapshot, kept for a fast start; `enforcements` what measures have in force, by customer."""
        self.people = people
        self.enforcements = Enforcements(enforcements or {})
        self.published = Published()
        self.followers: list[Callable[[Collection[str]], None]] = []
        """Who else carries out what is in force: told which customers' changed, at once, and not waited for."""
        self.before_loads: list[Callable[[], Awaitable[None]]] = []
        """What they are waited for by before all customers are loaded for it: beside that it would take them many times as long."""
        self.lender: Lender = NoLender()
        self.publisher: ZonePublisher | None = None
        self._writer = writer
        self._plane = plane
        self._state = state
        self._lists = lists
        self._key = key
        self._saved = saved
        self._lock = asyncio.Lock()
        self._wanted = 0
        self._done = 0
        self._compiled: dict[str, CompiledList] = {}
        self._profiles = 0
        self._loading = False
        self._late: set[str] = set()
        self._late_moves: set[Prefix] = set()
        self._whole = False
        """No load of all was broken off."""

    async def start(self, now: float) -> None:
        """Put the first snapshot and all customers in force: the saved one if it says what is in force now."""
        async with self._lock:
            await self._publish_all(self.people, now, fast=True)

    async def saved(self) -> None:
        """Wait until the last snapshot is on disk."""
        await self._saved.finish()

    async def settle(self, enforcements: Mapping[str, Enforcement], now: float) -> bool:
        """When nothing is done any more: have the tables say what the record says, whatever was broken off before it was carried out.

        `enforcements` is what measures have in force, by customer. False if that takes loading all: the next start does.
        """
        await self._saved.finish()
        if not self._whole or self.is_behind():
            return False
        inputs = self._inputs(self.people)
        if await asyncio.to_thread(fingerprint, inputs) != self._saved.fingerprint():
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
        await self._taken(self.published.epoch)

    async def rebuild(self, now: float) -> None:
        """Build and publish what is known now; the plane answers by it on return. Callers that wait together share one build."""
        self._wanted += 1
        ticket = self._wanted
        async with self._lock:
            if self._done < ticket:
                reached = self._wanted
                await self._publish(self.people, now)
                self._done = reached
                if self.publisher is not None:
                    self.publisher.tables_changed(everyone=False)
        await self._taken(self.published.epoch)

    async def put(self, customer: Customer, now: float) -> None:
        """A customer's row, in force on return. A new combination of terms goes into the snapshot first."""
        if self.people.profile_number(customer.terms) >= self._profiles:
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
        return any(self._lists.compiled(one) is not self._compiled.get(one.id) for one in self.people.lists)

    async def repair(self, now: float) -> None:
        """Write everything anew if a plane could not start by what was written: the files were damaged since."""
        if self._writer.is_wanted():
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

    async def _taken(self, epoch: int) -> None:
        """Wait until the plane answers by a snapshot; not for a plane that does not run, refuses it, or is too slow."""
        end = time.monotonic() + TAKEN_WITHIN
        while time.monotonic() < end:
            seen = self._plane.observe()
            if not seen.workers_alive or max(seen.epoch, seen.refused_epoch) >= epoch:
                return
            await asyncio.sleep(_TAKEN_POLL)
        log.warning("plane-behind", epoch=epoch)

    async def _publish(self, people: People, now: float) -> None:
        """Put another snapshot in force; customers stay as they are."""
        inputs = self._inputs(people)
        began = time.monotonic()
        data = await asyncio.to_thread(make, inputs)
        took = time.monotonic() - began
        await asyncio.to_thread(_written, lambda: self._writer.publish_snapshot(data, inputs.epoch))
        self._in_force(inputs, now, took)
        self._keep(inputs, data)

    async def _publish_all(self, people: People, now: float, *, fast: bool = False) -> None:
        """Put a snapshot and all of its customers in force together: masks and profiles are of their snapshot."""
        self._whole = False
        inputs = self._inputs(people)
        began = time.monotonic()
        if fast and self._saved.in_force is not None and self._saved.in_force == await asyncio.to_thread(fingerprint, inputs):
            inputs = replace(inputs, epoch=self._writer.epoch)
            await self._load_customers(people, now)
            self._in_force(inputs, now, 0.0)
        else:
            saved = await self._saved.read(lambda: fingerprint(inputs)) if fast else None
            if saved is not None:
                renumber(saved, inputs.epoch)
            data = saved if saved is not None else await asyncio.to_thread(make, inputs)
            took = time.monotonic() - began
            await asyncio.to_thread(_written, lambda: self._writer.stage_snapshot(data, inputs.epoch))
            await self._load_customers(people, now, inputs.epoch)
            self._in_force(inputs, now, took)
            if saved is None:
                self._keep(inputs, data)
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
            await asyncio.to_thread(_written, load)
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

    def _inputs(self, people: People) -> Inputs:
        epoch = max(self._writer.epoch, self.published.epoch) + 1
        lists = tuple((definition, self._lists.compiled(definition)) for definition in people.lists)
        return Inputs(
            epoch,
            lists,
            people.profiles,
            exemptions(people.lists, self._state.exceptions),
            self._key,
            tuple(people.grounds),
            garden_of(people.site.settings),
        )

    def _in_force(self, inputs: Inputs, now: float, took: float) -> None:
        self.published = Published(inputs.epoch, now, took)
        self._compiled = {definition.id: compiled for definition, compiled in inputs.lists}
        self._profiles = len(inputs.profiles)
        entries = sum(len(compiled) for _, compiled in inputs.lists)
        log.info("snapshot-published", epoch=inputs.epoch, lists=len(inputs.lists), entries=entries, seconds=round(took, 3))

    def _keep(self, inputs: Inputs, data: bytearray) -> None:
        self._saved.keep(data, lambda: fingerprint(inputs))


def _written(step: Callable[[], None]) -> None:
    """Do a step that writes shared files; a disk that does not take them is told in a sentence."""
    try:
        step()
    except OSError as error:
        raise TableError(f"the tables cannot be written ({error.strerror}); see that the runtime folder has room") from error
