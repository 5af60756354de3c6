"""Outages by the operator's fault with the credits they lead to, and interruptions that are announced."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Iterator
from typing import Any

from sekisho.app.control_core import Core
from sekisho.drivers.localtime import spoken
from sekisho.measures.announcing import announced_things, announcing
from sekisho.measures.credits import Billing, Credit, outage_credit
from sekisho.model.clauses import CreditRule
from sekisho.model.customers import Customer
from sekisho.model.errors import RefusedError
from sekisho.model.measureacts import InterruptionAnnounced, OutageClosed, OutageOpened
from sekisho.model.measures import Interruption, Outage

Json = dict[str, Any]

SHOWN = 10_000
"""Customers of one answer at most."""


async def open_outage(core: Core, since: float | None, known: float | None, affected: list[str], reason: str, actor: str) -> Json:
    """Record a failure from `since` (now unless told) on, known to the operator since `known` (its beginning unless told);
    `affected` are customers, groups and packs, none: everybody.

    Raises RefusedError for a time that has not come and for a name nobody has.
    """
    now = core.clock()
    if since is not None and since > now:
        raise RefusedError("the failure cannot begin in the future; for one that is planned use `sekisho announce`")
    begun = now if since is None else since
    if known is not None and not begun <= known <= now:
        raise RefusedError("a failure is known between its beginning and now; give a time between the two, or leave it out")
    unknown = [name for name in affected if name not in core.site.packs and core.people.find(name) is None]
    if unknown:
        groups = core.people.group_names()
        unknown = [name for name in unknown if name not in groups]
    if unknown:
        raise RefusedError(f"{', '.join(unknown)} is neither a customer, nor a group, nor a terms pack in use; correct it")
    outage = f"o-{secrets.token_hex(6)}"
    await core.measures.record(OutageOpened(outage, begun, list(dict.fromkeys(affected)), reason, known), now, actor)
    return await show(core, outage, None, SHOWN)


async def close_outage(core: Core, outage_id: str, at: float | None, actor: str) -> Json:
    """The failure is over since `at` (now unless told); answers with the credits. Raises RefusedError if it is over already."""
    now = core.clock()
    outage = _get(core, outage_id)
    if outage.until is not None:
        raise RefusedError(f"outage {outage_id} is over already; `sekisho outage show {outage_id}` shows it and its credits")
    end = now if at is None else at
    if not outage.since <= end <= now:
        raise RefusedError("the failure ended between its beginning and now; give a time between the two")
    await core.measures.record(OutageClosed(outage_id, end), now, actor)
    return await show(core, outage_id, None, SHOWN)


def show_all(core: Core) -> Json:
    """Outages and announced interruptions, the newest first."""
    book = core.measures.book
    return {
        "outages": [_body(one) for one in reversed(book.outages.values())],
        "interruptions": [dataclasses.asdict(one) for one in reversed(book.interruptions.values())],
    }


async def show(core: Core, outage_id: str, after: str | None, limit: int) -> Json:
    """One outage and what each affected customer is owed for it, in the order of the customers, from `after` on.

    Of one that goes on: what they would be owed if it ended now.
    """
    outage = _get(core, outage_id)
    until = core.clock() if outage.until is None else outage.until
    # It may concern a million: others have their turn meanwhile.
    return await asyncio.to_thread(_shown, core, outage, until, after, limit)


def _shown(core: Core, outage: Outage, until: float, after: str | None, limit: int) -> Json:
    known: dict[object, list[Credit]] = {}
    rows: list[Json] = []
    passed, more = after is None, False
    total, affected, without_fee = 0, 0, 0
    for customer in core.people.each():
        if not _is_affected(outage, customer):
            continue
        affected += 1
        # Who has the same terms and fee is owed the same.
        alike = customer.terms, customer.fee, customer.id in outage.affected, customer.group in outage.affected
        owed = known[alike] if alike in known else known.setdefault(alike, list(_credits(core, customer, outage, until)))
        without_fee += customer.fee is None
        total += sum(one.yen for one in owed)
        if passed:
            more = more or len(rows) >= limit
            if len(rows) < limit:
                rows.append(_row(customer, owed))
        passed = passed or customer.id == after
    return _body(outage) | {
        "length": until - outage.since,
        "affected_customers": affected,
        "without_fee": without_fee,
        "total_yen": total,
        "credits": rows,
        "more": more,
    }


async def announce(
    core: Core, what: str, packs: list[str], since: float, until: float | None, reason: str, *, urgent: bool, actor: str
) -> Json:
    """Announce an interruption, if it comes in time under every clause it concerns.

    For every pack that speaks of such a thing unless some are named. Raises RefusedError if it comes too late, with until
    when it had to come; what is urgent may come later where the clause says so.
    """
    now = core.clock()
    known = announced_things(core.site.packs)
    if what not in known:
        there = ", ".join(known) or "none"
        raise RefusedError(f"no terms in use speak of announcing {what}; give one of those they speak of: {there}")
    for name in packs:
        if name not in core.site.packs:
            raise RefusedError(f"{name} is no terms pack in use; those are {', '.join(core.site.packs)}")
    if until is not None and until <= since:
        raise RefusedError("it would end before it begins; give a later end")
    judged = announcing(core.site.packs, packs or list(core.site.packs), what, since, now, core.measures.calendar, urgent=urgent)
    if not judged:
        raise RefusedError(f"the terms of {', '.join(packs)} do not speak of announcing {what}; name a pack that does")
    late = [one for one in judged if not one.in_time and not one.excused]
    if late:
        told = "; ".join(f"under {one.rule.clause} it had to be announced until {spoken(one.latest)}" for one in late)
        excuse = ", or --urgent if it is: the terms excuse that" if all(one.rule.urgent for one in late) else ""
        raise RefusedError(f"it is too late to announce that, {told.replace('; ', ', and ')}; give a later beginning{excuse}")
    concerned = list(dict.fromkeys(one.pack for one in judged))
    interruption = f"i-{secrets.token_hex(6)}"
    recorded = await core.measures.record(InterruptionAnnounced(interruption, what, concerned, since, until, urgent, reason), now, actor)
    made: Interruption = core.measures.book.interruptions[interruption]
    await core.measures.announce(made, now)
    clauses = [
        {"clause": one.rule.clause, "latest": one.latest, "in_time": one.in_time, "excused": one.excused, "pack": one.pack}
        for one in judged
    ]
    return dataclasses.asdict(made) | {"clauses": clauses, "number": recorded.number}


def _get(core: Core, outage_id: str) -> Outage:
    outage = core.measures.book.outages.get(outage_id)
    if outage is None:
        raise RefusedError(f"there is no outage {outage_id}; `sekisho outage show` lists those there are")
    return outage


def _is_affected(outage: Outage, customer: Customer) -> bool:
    names = outage.affected
    return not names or customer.id in names or customer.group in names or any(pack in names for pack in customer.terms)


def _credits(core: Core, customer: Customer, outage: Outage, until: float) -> Iterator[Credit]:
    """What a customer is owed under each of their terms that the outage concerns: the one place that asks for the formula."""
    fee = customer.fee
    if fee is None:
        return
    everything = not outage.affected or customer.id in outage.affected or customer.group in outage.affected
    for name in customer.terms:
        if name not in core.site.packs or not (everything or name in outage.affected):
            continue
        for rule in core.site.packs[name].rules:
            if not isinstance(rule, CreditRule):
                continue
            billing = Billing.YEARLY if fee.yearly else Billing.MONTHLY
            counted = outage.known if rule.from_knowledge else outage.since
            credit = outage_credit(rule, fee.yen, counted, until, billing=billing)
            if credit is not None:
                yield credit


def _row(customer: Customer, owed: list[Credit]) -> Json:
    return {
        "customer": customer.id,
        "fee": None if customer.fee is None else {"yearly" if customer.fee.yearly else "monthly": customer.fee.yen},
        "credits": [dataclasses.asdict(one) for one in owed],
        "yen": sum(one.yen for one in owed),
    }


def _body(outage: Outage) -> Json:
    return dataclasses.asdict(outage) | {"open": outage.until is None}
