"""Attention calls (`gunma/38`): from an address and a time to the customer who held it then, and a call to them.

Whose an address was is asked for one line of a report at a time, and only where no call came of that line
already; every such question is on the record with who asked and why, before its answer is used. An address
that is nobody's, or may have been another's then, leads to no call, and the answer says so.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sekisho.app.control_core import Core
from sekisho.drivers.ledger import Ledger
from sekisho.measures.reports import Sighting
from sekisho.model.clauses import Pack
from sekisho.model.customers import Customer, Prefix
from sekisho.model.errors import RefusedError
from sekisho.model.measures import NoticeOrder, Occasion
from sekisho.model.noticeacts import AttentionMoved, AttentionOpened, LookedUp
from sekisho.model.notices import AttentionCall, CallState, Notice

Json = dict[str, Any]

CLAUSE = "gunma/38"
"""The clause calls are made under, unless told."""
TOGETHER = 64
"""Lines looked at at the same time: their acts share transactions."""
SHOWN = 10_000
ACTOR = "sekishod"
_AFTER: dict[CallState, frozenset[CallState]] = {
    CallState.ANSWERED: frozenset({CallState.OPEN, CallState.SENT}),
    CallState.CLOSED: frozenset({CallState.OPEN, CallState.SENT, CallState.ANSWERED}),
}


class Holding(enum.StrEnum):
    """What the question whose an address was led to."""

    FOUND = "found"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    NO_CLAUSE = "no-clause"
    """The customer's terms do not have the clause: no clause, no call."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose an address was; `customer` where that is certain."""

    holding: Holding
    customer: Customer | None = None
    why: str = ""


class Whose(Protocol):
    """Whose an address was at a time (UNIX seconds), and on a port where several share it."""

    def whose(self, address: str, at: float, port: int | None) -> Holder: ...


class FixedAddresses:
    """The customers of now: their fixed prefixes, and when each was last changed at run time."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def whose(self, address: str, at: float, port: int | None) -> Holder:  # noqa: ARG002 - a fixed prefix is one customer's on every port
        core = self._core
        owners = core.people.holders(Prefix.parse(address))
        if not owners:
            return Holder(Holding.UNKNOWN, None, "no customer holds the address")
        if len(owners) > 1:
            return Holder(Holding.AMBIGUOUS, None, "several customers hold the address")
        customer = core.people.find(owners[0])
        changed = core.state.notices.changed.get(owners[0])
        if changed is not None and at < changed:
            return Holder(Holding.AMBIGUOUS, None, "the customer who holds the address was added or changed after that time")
        return Holder(Holding.FOUND if customer is not None else Holding.UNKNOWN, customer)


async def take(core: Core, whose: Whose, report: str, clause: str, sightings: Iterable[Sighting], actor: str) -> Json:
    """Look up each line, open a call for each customer found and order its notice.

    Raises RefusedError if no pack has the clause, LedgerError if the record cannot be written: what was
    answered until then stands, and the same import goes on where it stopped.
    """
    if not any(pack.clause(clause) for pack in core.site.packs.values()):
        raise RefusedError(f"no terms pack in force has the clause {clause}; name the clause your terms have with --clause")
    lines = list(sightings)
    gate = asyncio.Semaphore(TOGETHER)
    busy: dict[str, asyncio.Lock] = {}

    async def one(sighting: Sighting) -> Json:
        # The same address one line after the other, so that the second sees the call of the first.
        async with gate, busy.setdefault(sighting.address, asyncio.Lock()):
            return await _take_one(core, whose, report, clause, sighting, actor)

    outcomes = await asyncio.gather(*map(one, lines))
    return {"report": report, "clause": clause, "lines": outcomes}


async def _take_one(core: Core, whose: Whose, report: str, clause: str, sighting: Sighting, actor: str) -> Json:
    fold, call = core.state.notices, sighting.call
    line: Json = {"line": sighting.line, "address": sighting.address, "at": sighting.at, "port": sighting.port}
    known = fold.calls.get(call)
    if known is not None:
        await _order(core, known)
        return line | {"outcome": "known", "call": call, "customer": known.customer, "why": f"the call is {known.state} already"}
    holder = whose.whose(sighting.address, sighting.at, sighting.port)
    holding, customer = holder.holding, holder.customer
    if customer is not None and not _has_clause(core.site.packs, customer, clause):
        holding = Holding.NO_CLAUSE
    identity = customer.id if customer is not None else ""
    reason = f"notice-report {report}, line {sighting.line}"
    now = core.clock()
    await core.ledger.append(LookedUp(sighting.address, sighting.port, sighting.at, reason, clause, identity, str(holding)), actor, now)
    if holding is not Holding.FOUND:
        why = f"the terms of customer {identity} do not have {clause}" if holding is Holding.NO_CLAUSE else holder.why
        return line | {"outcome": str(holding), "call": None, "customer": None, "why": why}
    standing = fold.open_call(identity, sighting.address)
    if standing is not None:
        why = f"the call {standing.id} about this address is {standing.state}"
        return line | {"outcome": "known", "call": standing.id, "customer": identity, "why": why}
    await core.ledger.append(
        AttentionOpened(call, identity, clause, sighting.address, sighting.at, report, sighting.port), actor, core.clock()
    )
    await _order(core, fold.calls[call])
    return line | {"outcome": "opened", "call": call, "customer": identity, "why": ""}


async def _order(core: Core, call: AttentionCall) -> None:
    """The notice of a call; ordered again it is ordered once."""
    if call.state is CallState.OPEN:
        await core.desk.order(NoticeOrder(call.id, call.customer, call.clause, Occasion.ATTENTION, call.opened_at))


async def resume(core: Core) -> None:
    """Order the notices of calls that were opened just before the daemon ended."""
    for call in list(core.state.notices.calls.values()):
        await _order(core, call)


async def sent(ledger: Ledger, notice: Notice, now: float) -> None:
    """The notice of a call was handed over: the call is `sent`. Raises LedgerError."""
    call = ledger.state.notices.calls.get(notice.subject)
    if call is not None and call.state is CallState.OPEN:
        await ledger.append(AttentionMoved(call.id, call.customer, CallState.SENT), ACTOR, now)


async def move(core: Core, call_id: str, state: CallState, reason: str, actor: str) -> Json:
    """Answered or closed, by an operator. Raises RefusedError."""
    call = core.state.notices.calls.get(call_id)
    if call is None:
        raise RefusedError(f"there is no attention call {call_id}; `sekisho attention list` shows those there are")
    if call.state not in _AFTER[state]:
        raise RefusedError(f"the attention call {call_id} is {call.state} already; nothing is to be done")
    recorded = await core.ledger.append(AttentionMoved(call_id, call.customer, state, reason), actor, core.clock())
    return {"call": call_id, "customer": call.customer, "state": str(state), "number": recorded.number}


def show(core: Core, customer: str | None, state: str | None) -> Json:
    """Attention calls, the newest first."""
    if state is not None and state not in set(CallState):
        raise RefusedError(f"there is no state {state}; calls are {', '.join(CallState)}")
    found = [one for one in reversed(core.state.notices.calls.values()) if customer in {None, one.customer} and state in {None, one.state}]
    return {"calls": [_body(one) for one in found[:SHOWN]], "more": len(found) > SHOWN}


def _has_clause(packs: Mapping[str, Pack], customer: Customer, clause: str) -> bool:
    return any(pack in packs and packs[pack].clause(clause) is not None for pack in customer.terms)


def _body(call: AttentionCall) -> Json:
    return {
        "call": call.id,
        "customer": call.customer,
        "clause": call.clause,
        "address": call.address,
        "port": call.port,
        "at": call.at,
        "report": call.report,
        "opened": call.opened_at,
        "state": str(call.state),
        "since": call.since,
        "reason": call.reason,
    }
