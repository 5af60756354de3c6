"""NASes while the daemon runs: limits that measures put on lines, asked of the NASes that carry them.

The order is always the same: what a NAS may hold from now on is written down, then it is asked, then what became of it
is written down. What is to be asked is worked out by `enforce.nas`; the words are `enforce.templates`', the packets
`drivers.coa`'s. Without a `coa:` section nothing is asked, and what is remembered of before is told.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from sekisho.app.control_nas_asking import Asking
from sekisho.app.control_standing import View, plan_of
from sekisho.app.control_tables import Tables
from sekisho.config.coa import CoaSettings
from sekisho.drivers.nasmemory import NasMemory
from sekisho.enforce.nas import Book
from sekisho.enforce.naslines import Pace
from sekisho.measures.combine import ENFORCED
from sekisho.model.customers import Customer, Plan, Prefix
from sekisho.model.measures import NONE, Detector, Enforcement
from sekisho.model.nas import Limit, Remembered, Target
from sekisho.model.sessions import Session, SessionEnd

log = structlog.get_logger("sekisho.nas")

_MEGABIT = 1_000_000
RECONCILE_EVERY = 60.0
"""Seconds between two comparisons of all that is wanted with all that NASes hold."""
_PAUSE = 1000
"""Customers after which other tasks have their turn."""


class Sessions(Protocol):
    """Who is on which line now (`control_sessions`)."""

    def live(self, customer: str) -> Iterable[Session]:
        """The sessions of a customer that go on."""
        ...

    def login_of(self, user: str) -> str:
        """The ID behind a user name."""
        ...


class NasLimits(Asking):
    """What is wanted of NASes, by measures, sessions and customers as they are."""

    def __init__(
        self,
        memory: Callable[[], NasMemory],
        find: Callable[[str], Customer | None],
        plan: Callable[[Customer], Plan | None],
        sessions: Sessions,
        enforced: Callable[[], Mapping[str, Enforcement]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`memory` opens the file of what is remembered; `plan` says a line's capacity, `enforced` what is in force for whom."""
        super().__init__(now)
        self.sessions = sessions
        self._memory_of = memory
        self._find = find
        self._plan = plan
        self._enforced = enforced
        self._duplicates: dict[str, int] = {}
        self._reconciled_at = 0.0

    async def start(self, settings: CoaSettings | None, *, remembered: bool) -> None:
        """Begin with what is remembered. `remembered`: there is a file of it. Raises LedgerError."""
        kept: list[Remembered] = []
        if settings is not None or remembered:
            self._memory = await asyncio.to_thread(self._memory_of)
            kept = await self._memory.read()
        self.settings = settings
        self.book = Book(_paces(settings), kept, share=settings is None or settings.share)

    async def close(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        if self._memory is not None:
            kept, gone = self.book.changes()
            if kept or gone:
                await self._write((kept, gone))
            await self._memory.close()
        if self._client is not None:
            await self._client.close()

    # What changes

    async def adopt(self, settings: CoaSettings | None) -> None:
        """Go on with another configuration. Raises LedgerError if what NASes hold cannot be remembered from now on."""
        if settings is not None and self._memory is None:
            self._memory = await asyncio.to_thread(self._memory_of)
        before, self.settings = self.settings, settings
        self.book.adopt(_paces(settings), self._now())
        self.book.share = settings is None or settings.share
        for nas in settings.nases if settings is not None else ():
            old = before.nas(nas.id) if before is not None else None
            if (
                settings is not None
                and before is not None
                and old is not None
                and before.template(old.vendor) != settings.template(nas.vendor)
            ):
                self.book.suspect(nas.id, self._now())
        await self.reconcile(self._duplicates)

    def follow(self, customers: Iterable[str]) -> None:
        """What is in force for these customers changed; asked of the NASes at once."""
        if self.settings is not None or self._memory is not None:
            enforced = self._enforced()
            for customer in customers:
                what = enforced.get(customer, NONE)
                if what.rate is not None or customer in self.book.wanted():
                    self._tell(customer, what)

    async def reconcile(self, duplicates: Mapping[str, int]) -> None:
        """Compare all that is wanted with what NASes hold. `duplicates`: whose later sessions are to end, and how many may stay."""
        before = self._duplicates
        self._duplicates = dict(duplicates) if self.settings is not None and self.settings.disconnect_duplicates else {}
        self._reconciled_at = self._now()
        enforced = self._enforced()
        known = dict.fromkeys((*before, *self.book.wanted(), *(line.target.customer for line in self.book.lines())))
        rated = (identity for identity, what in enforced.items() if what.rate is not None)
        for number, identity in enumerate(dict.fromkeys((*known, *rated, *self._duplicates)), 1):
            self._tell(identity, enforced.get(identity, NONE))
            if not number % _PAUSE:
                await asyncio.sleep(0)

    async def look(self, duplicates: Mapping[str, int]) -> None:
        """A look now and then: at whose sessions are to end; at everything each `RECONCILE_EVERY` seconds."""
        ending = self.settings is not None and self.settings.disconnect_duplicates and self._duplicates != duplicates
        if ending or self._now() - self._reconciled_at >= RECONCILE_EVERY:
            await self.reconcile(duplicates)

    def session_started(self, session: Session) -> None:
        """A session began, and `Sessions` has it. Whatever a NAS held of one by the same name, this one has its full speed."""
        target = self._target(session)
        if target is None:
            return
        self.book.ended(target.key)
        if target.customer in self._duplicates or target.customer in self.book.wanted():
            self._want(target.customer, self.book.wanted().get(target.customer))
        self._wake.set()

    def session_resumed(self, session: Session) -> None:
        """A session that was over here goes on, or one is first heard of in its midst: its NAS may hold what it was asked for before."""
        target = self._target(session)
        if target is not None:
            self.book.resumed(target.key, self._now())
            self.sessions_changed([target.customer])
            self._wake.set()

    def session_ended(self, session: Session) -> None:
        """A session ended, and what its NAS held of it. Of one that was only not heard of any more nobody knows: a limit is taken back."""
        target = self._target(session)
        if target is None:
            return
        if session.end in {SessionEnd.TIMEOUT, SessionEnd.REPLACED}:
            self.sessions_changed([target.customer])
        else:
            self.book.ended(target.key)
            self._wake.set()

    def sessions_changed(self, customers: Iterable[str]) -> None:
        """Customers have other sessions or addresses now."""
        for customer in customers:
            if customer in self._duplicates or self.book.knows(customer):
                self._want(customer, self.book.wanted().get(customer))

    def nas_restarted(self, name: str) -> None:
        """A NAS, by its name in accounting, said that it started or stops: none of its sessions goes on, and no limit."""
        nas = self.settings.accounted(name) if self.settings is not None else None
        if nas is not None:
            # Sessions that began since are asked for once more.
            concerned = {line.target.customer for line in self.book.lines(nas.id)}
            self.book.restarted(nas.id)
            self.sessions_changed(concerned)
            self._wake.set()

    # The end

    async def stop(self) -> None:
        """Before the end, when `run` has ended: take limits back if none are to be left, as far as NASes answer in time."""
        settings = self.settings
        if settings is None or self.observing or settings.on_stop != "remove":
            return
        for customer in list(self.book.wanted()):
            self.book.want(customer, None, self.targets(customer), self._now())
        end = self._now() + settings.stop_timeout
        while not self.book.idle() and self._now() < end:
            self._wake.clear()
            await self.step()
            try:
                await asyncio.wait_for(self._wake.wait(), min(end - self._now(), 1.0))
            except TimeoutError:
                continue
        left = sum(line.held is not None or line.doubt is not None for line in self.book.lines())
        if left:
            log.warning("limits-left", lines=left)

    def targets(self, customer: str) -> list[Target]:
        """The lines of a customer at NASes that can be asked: live sessions, and fixed addresses where no accounting comes."""
        settings = self.settings
        if settings is None:
            return []
        live = sorted(self.sessions.live(customer), key=lambda one: (one.since, one.id))
        found = [target for one in live if (target := self._target(one)) is not None]
        told = {one.nas for one in found}
        record = self._find(customer)
        for nas in settings.nases if record is not None else ():
            fixed = tuple(one for one in record.prefixes if any(_within(one, network) for network in nas.networks)) if record else ()
            if fixed and nas.id not in told:
                found.append(Target(nas.id, "", "", customer, fixed))
        return found

    def limit(self, customer: str, what: Enforcement) -> Limit | None:
        """What a customer's lines are to be limited to."""
        if what.rate is None:
            return None
        record = self._find(customer)
        plan = self._plan(record) if record is not None else None
        down, up = what.rate
        if plan is None:
            return Limit(down, up, down, up)
        return Limit(down, up, round(plan.down_mbps * _MEGABIT), round(plan.up_mbps * _MEGABIT))

    def _tell(self, customer: str, what: Enforcement) -> None:
        self._want(customer, self.limit(customer, what))

    def _target(self, session: Session) -> Target | None:
        """A session at a NAS that can be asked, of a customer who is known."""
        nas = self.settings.accounted(session.nas) if self.settings is not None else None
        if nas is None or session.customer is None:
            return None
        return Target(nas.id, session.id, session.user, session.customer, session.prefixes)

    def _want(self, customer: str, limit: Limit | None) -> None:
        targets = self.targets(customer)
        allowed = self._duplicates.get(customer)
        ending = []
        if allowed is not None:
            # It is one ID that may not be in several: the customer's others have nothing to do with it.
            of_id: Counter[str] = Counter()
            for one in targets:
                if one.session:
                    of_id[name := self.sessions.login_of(one.user)] += 1
                    if of_id[name] > allowed:
                        ending.append(one.key)
        self.book.want(customer, limit, targets, self._now(), ending)
        self._wake.set()


def duplicate_logins(view: View) -> dict[str, int]:
    """Customers under a measure for a duplicate log-in that is carried out now, and how many sessions they may have."""
    found: dict[str, int] = {}
    if view.book.hold is not None:
        return found
    for measure in view.book.open():
        if measure.detector is not Detector.DUPLICATE_LOGIN or measure.state not in ENFORCED or measure.observe:
            continue
        standing = view.standing_of(measure)
        if standing.rule is None or standing.exempt or standing.observe:
            continue
        allowed = measure.evidence.get("allowed", 1)
        found[measure.customer] = max(1, int(allowed)) if isinstance(allowed, int | float) else 1
    return found


async def open_nas(path: Path, tables: Tables, sessions: Sessions) -> NasLimits:
    """The NAS side of a daemon, with what the file at `path` remembers; it follows what is in force. Raises LedgerError."""
    nas = NasLimits(
        lambda: NasMemory.open(path),
        lambda identity: tables.people.find(identity),  # noqa: PLW0108 - a reload makes other people
        lambda customer: plan_of(customer, tables.people.site.settings.lines),
        sessions,
        tables.enforced,
    )
    await nas.start(tables.people.site.settings.coa, remembered=await asyncio.to_thread(path.exists))
    tables.followers.append(nas.follow)
    return nas


def _paces(settings: CoaSettings | None) -> dict[str, Pace]:
    nases = settings.nases if settings is not None else ()
    return {one.id: Pace(one.window, settings.backoff, settings.backoff_max) for one in nases} if settings is not None else {}


def _within(prefix: Prefix, network: Prefix) -> bool:
    return prefix.length >= network.length and prefix.value >> (128 - network.length) == network.value >> (128 - network.length)
