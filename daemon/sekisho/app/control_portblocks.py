"""Blocks of ports that CGNs report with flow records (natEvent of RFC 8158), entered in the table of sessions.

Owns whose a reported block is: a session of its own in the table, of the exporter, under the inside address and the ports; the customer is
whoever has the inside address - by a session of accounting, else by a fixed prefix - and where nobody is known to have it, or two are, the
ports are nobody's: never a guess. When the inside address becomes another's, the block goes with it, from then on. Of
two records about the same ports the later event counts, whichever came first. An exporter is known by its address alone: what accounting
says of ports, and what is a customer's own, no record takes from them.

Does not own how a record is read (`flows.natevents`), what a block does to others and to the plane (`sessions.table`, `control_sessions`),
nor how long it is known (the retention of sessions).
"""

from __future__ import annotations

import asyncio
import bisect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sekisho.app.control_people import People
from sekisho.config.flows import FlowExporter, FlowSettings
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.flows import BlockOutcome
from sekisho.model.sessions import CGN, Accounting, AccountingKind, Ports, Session, SessionEnd, Share
from sekisho.sessions.changes import WHOLE, Changes, Held, Released
from sekisho.sessions.columns import code_of, prefix_of
from sekisho.sessions.counters import SLACK
from sekisho.sessions.table import Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOGETHER = 256
"""Records entered, or blocks looked over, before the loop's other tasks have their turn."""
_ALLOCATED = 16
"""natEvent; `flows.natevents` has it too, and compiled code with it."""
TIDY_EVERY = 86400.0
"""Seconds after which blocks are looked over for those that ended by their age, or whose ports accounting gave to others."""
AHEAD = 10.0
"""Seconds by which the clock of an exporter may be before ours."""
OLDEST = 3600.0
"""Seconds after which a record says nothing any more: longer than the table knows of what is over, and than any record is on its way."""


class Report(NamedTuple):
    """A block of ports was allocated, or taken back. Addresses are numbers of the 128-bit space."""

    allocated: bool
    exporter: int
    inside: int
    """0: it is not told."""
    outside: Prefix
    first: int
    last: int
    """0: it is not told."""
    at: float
    """UNIX seconds, by the exporter."""
    realm: int = 0
    """The network the inside address is of; 0: it is not told."""


class PortBlocks:
    """The blocks of one daemon. `people` are the customers in force; `commit` puts changes of the table in force and on disk."""

    def __init__(self, table: Table, people: Callable[[], People], commit: Callable[[Changes], None], clock: Callable[[], float]) -> None:
        self._table, self._people, self._commit, self._clock = table, people, commit, clock
        self._settings: FlowSettings | None = None
        self._blocks: dict[int, dict[tuple[str, str], float]] = {}
        """By inside address: NAS and id of each block, and when it was reported last (UNIX seconds of the event)."""
        self._insides: list[int] = []
        """In their order."""
        self._stale, self._tidied = False, clock()
        self.counts: Counter[BlockOutcome] = Counter()
        """Of records, since the start."""

    def adopt(self, settings: FlowSettings | None) -> None:
        """Which exporters report blocks, and how."""
        self._settings = settings

    def restore(self) -> None:
        """Know the blocks that were live when the daemon ended."""
        self._stale = True
        for one in self._table.blocks():
            self._blocks.setdefault(_inside(one), {})[one.nas, one.id] = one.seen
        self._insides = sorted(self._blocks)

    def age(self, nas: str) -> float | None:
        """Seconds for which a block of an exporter is held that is not reported again; None: nobody says."""
        exporter = self._exporter(_number(nas.removeprefix(CGN)))
        if exporter is None or not exporter.port_blocks:
            return None
        return math.inf if exporter.block_age is None else exporter.block_age

    async def take(self, batches: Iterable[NDArray[np.uint64]]) -> None:
        """Records as the collector has them (rows of `flows.layout.B_WORDS`), in their order; they are wiped."""
        for batch in batches:
            for begin in range(0, len(batch), TOGETHER):
                rows = batch[begin : begin + TOGETHER].tolist()
                batch[begin : begin + TOGETHER] = 0
                self.enter(list(map(_report, rows)))
                await asyncio.sleep(0)

    def enter(self, reports: Sequence[Report]) -> None:
        """Have records in force, and on disk soon."""
        changes, now = Changes(), self._clock()
        try:
            for one in reports:
                self.counts[self._enter(one, now, changes)] += 1
        finally:
            self._commit(changes)

    def customers_changed(self) -> None:
        """Other customers are in force: all blocks are looked over at the next `tidy`."""
        self._stale = True

    def customer_changed(self, customer: str) -> None:
        """A customer was added, replaced or removed, and may have other fixed prefixes than before."""
        insides = {_inside(block) for block in self._table.blocks_of(customer)}
        prefixes = self._people().prefixes(customer)
        if not prefixes:
            # What was theirs may be one other's alone now, and is known by nothing but a look at all.
            self._stale = True
        insides.update(inside for prefix in prefixes for inside in self._within(prefix))
        changes, now = Changes(), self._clock()
        for inside in insides:
            self._settle(inside, now, changes)
        self._commit(changes)

    async def tidy(self) -> None:
        """Have every block be whose its inside address is, and forget those that are over."""
        now = self._clock()
        if not self._stale and now - self._tidied < TIDY_EVERY:
            return
        self._stale, self._tidied = False, now
        insides = list(self._insides)
        for begin in range(0, len(insides), TOGETHER):
            changes = Changes()
            for inside in insides[begin : begin + TOGETHER]:
                self._settle(inside, now, changes)
            self._commit(changes)
            await asyncio.sleep(0)

    def follow(self, moved: Changes) -> None:
        """Inside addresses became another's with these changes of the table: so do their blocks."""
        if not self._insides or not moved.moves:
            return
        times = {one.code: one.since for one in moved.facts if isinstance(one, Held) and one.ports == WHOLE}
        times |= {one.code: one.until for one in moved.facts if isinstance(one, Released) and one.first == 0}
        for session in moved.ended:
            if session.end in {SessionEnd.TIMEOUT, SessionEnd.REPLACED}:
                # That the address was theirs is known until they were last heard of.
                times |= {code_of(prefix): session.seen for prefix in session.prefixes}
        changes, now = Changes(), self._clock()
        for code in moved.moves:
            for inside in self._within(prefix_of(code)):
                self._settle(inside, times.get(code, now), changes)
        self._commit(changes)

    # Steps.

    def _enter(self, one: Report, now: float, changes: Changes) -> BlockOutcome:
        exporter = self._exporter(one.exporter)
        if exporter is None or not exporter.port_blocks:
            return BlockOutcome.PASSED
        if one.realm and one.realm not in exporter.realms:
            return BlockOutcome.REALM
        if not now - OLDEST <= one.at <= now + AHEAD:
            return BlockOutcome.CLOCK
        at = min(one.at, now)
        if not one.allocated:
            return self._release(one, at, changes)
        return self._allocate(one, at, changes)

    def _allocate(self, one: Report, at: float, changes: Changes) -> BlockOutcome:
        table, share = self._table, Share(one.outside, Ports(one.first, one.last))
        nas, name = _nas(one.exporter), _name(one.inside, share)
        rivals = table.sharers(share)
        if (
            self._people().holders(one.outside)
            or table.around(one.outside) is not None
            or not all(other.nas.startswith(CGN) for other in rivals)
        ):
            return BlockOutcome.HELD
        for other in rivals:
            if other.id == name:
                # Another exporter may speak for the same CGN.
                nas = other.nas
            elif at < self._told(other):
                return BlockOutcome.LATE
        known = table.block(nas, name)
        if known is not None and at < self._told(known):
            return BlockOutcome.LATE
        user, customer = (known.user, known.customer) if known is not None else self._whose(one.inside, at)
        self._apply(AccountingKind.START, nas, name, at, user, customer, changes, share)
        begun = table.block(nas, name)
        if begun is None:
            return BlockOutcome.LATE  # it was taken back since
        for other in rivals:
            if other.id != name:
                self._forget(other)
        self._note(begun, at)
        if known is not None or customer is None:
            # Somebody else may have the inside address by now.
            self._settle(one.inside, at, changes)
            begun = table.block(nas, name)
        return BlockOutcome.TAKEN if begun is not None and begun.customer is not None else BlockOutcome.UNKNOWN

    def _release(self, one: Report, at: float, changes: Changes) -> BlockOutcome:
        share = Share(one.outside, Ports(one.first, one.last or one.first))
        found = [
            other
            for other in self._table.sharers(share)
            if other.nas.startswith(CGN)
            and (not one.inside or _inside(other) == one.inside)
            and (one.last or other.shares[0].ports.first == one.first)
        ]
        if not found and one.inside and one.last:
            # Its allocation may come yet, and is over then.
            user, customer = self._whose(one.inside, at)
            self._apply(AccountingKind.STOP, _nas(one.exporter), _name(one.inside, share), at, user, customer, changes, share)
        if not found or any(at < self._told(other) for other in found):
            return BlockOutcome.LATE
        for other in found:
            self._stop(other, max(at, other.since), changes)
            self._forget(other)
        return BlockOutcome.TAKEN if all(other.customer is not None for other in found) else BlockOutcome.UNKNOWN

    def _settle(self, inside: int, at: float, changes: Changes) -> None:
        """Have the blocks of an inside address be whose it is, from a time on."""
        for nas, name in list(self._blocks.get(inside, ())):
            known = self._table.block(nas, name)
            if known is None:
                self._drop(inside, (nas, name))
                continue
            user, customer = self._whose(inside, math.inf)
            if user == known.user and customer == known.customer:
                continue
            holder = self._table.around(Prefix(inside, 128))
            since = max(at, known.seen, holder.since if holder is not None and customer is not None else 0.0)
            # Until then it is of who had it; who has it now may have come later.
            self._stop(known, max(at, known.seen), changes)
            if since <= known.since:
                since = math.nextafter(known.since, math.inf)
            self._apply(AccountingKind.START, nas, name, since, user, customer, changes, *known.shares)

    def _whose(self, inside: int, at: float) -> tuple[str, str | None]:
        """User and customer of an inside address, as far as it is known whose it was at a time not long ago."""
        nobody = f"inside {_text(inside)}", None
        address = Prefix(inside, 128)
        session = self._table.around(address)
        if self._table.shared_in(address) or (session is not None and at < session.since - SLACK):
            return nobody
        customer = session.customer if session is not None else None
        if session is None or address not in session.prefixes:
            fixed = self._people().fixed(address)
            owners = [fixed] if fixed is not None else self._people().holders(address)
            if session is None:
                customer = owners[0] if len(owners) == 1 else None
            elif any(one != customer for one in owners):
                return nobody
        return (customer, customer) if customer is not None else nobody

    def _stop(self, one: Session, at: float, changes: Changes) -> None:
        self._apply(AccountingKind.STOP, one.nas, one.id, at, one.user, one.customer, changes)

    def _apply(
        self, kind: AccountingKind, nas: str, name: str, at: float, user: str, customer: str | None, changes: Changes, *shares: Share
    ) -> None:
        self._table.apply(Accounting(kind, nas, at, name, user, (), shares), customer, changes)

    def _within(self, prefix: Prefix) -> list[int]:
        """The inside addresses in a prefix."""
        insides, last = self._insides, prefix.value | (1 << 128 - prefix.length) - 1
        return insides[bisect.bisect_left(insides, prefix.value) : bisect.bisect_right(insides, last)]

    def _told(self, block: Session) -> float:
        return self._blocks.get(_inside(block), {}).get((block.nas, block.id), block.seen)

    def _note(self, block: Session, at: float) -> None:
        inside = _inside(block)
        known = self._blocks.get(inside)
        if known is None:
            known = self._blocks[inside] = {}
            bisect.insort(self._insides, inside)
        known[block.nas, block.id] = at

    def _forget(self, block: Session) -> None:
        self._drop(_inside(block), (block.nas, block.id))

    def _drop(self, inside: int, key: tuple[str, str]) -> None:
        known = self._blocks.get(inside)
        if known is None:
            return
        known.pop(key, None)
        if not known:
            del self._blocks[inside]
            del self._insides[bisect.bisect_left(self._insides, inside)]

    def _exporter(self, address: int) -> FlowExporter | None:
        return self._settings.exporter(address) if self._settings is not None else None


def _report(row: Sequence[int]) -> Report:
    event, high, low, inside_high, inside_low, outside, first, last, at, realm = row
    return Report(
        event == _ALLOCATED,
        high << 64 | low,
        inside_high << 64 | inside_low,
        Prefix(V4_MAPPED | outside, 128),
        first,
        last,
        at / 1000.0,
        realm,
    )


def _text(number: int) -> str:
    return str(Prefix(number, 128)).partition("/")[0]


def _number(text: str) -> int:
    return Prefix.parse(text).value


def _nas(exporter: int) -> str:
    return CGN + _text(exporter)


def _name(inside: int, share: Share) -> str:
    """The Acct-Session-Id of a block, as it were: `100.64.0.9 203.0.113.5:1024-2047`."""
    return f"{_text(inside)} {_text(share.prefix.value)}:{share.ports.first}-{share.ports.last}"


def _inside(block: Session) -> int:
    return _number(block.id.partition(" ")[0])
