"""Announcements: of interruptions and whether they come in time, of emergencies, and of the blocking one can opt out of.

Decisions
* What concerns everybody under a clause is posted, and fills nobody's mailbox: a mail to each of a million customers
  would load in an emergency what is to be kept free.
* How to opt out of a blocking is published (`gunma/別記-3`): posted when the terms come into use, and again before the
  posting would be taken off. Who consents while the daemon runs is told it once for each version of the terms; those of
  the customer file are not, since a new file or program would then be a mass mail.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sekisho.measures.standing import Calendar
from sekisho.model.clauses import AnnouncementRule, BlockRule, EmergencyRule, OptOut, Pack
from sekisho.model.customers import Customer
from sekisho.model.measures import Emergency, Interruption, NoticeOrder, Occasion

PUBLISHED_FOR = 90 * 86400.0
"""Seconds a posting counts as published, unless the configuration says how long one is kept."""


@dataclass(frozen=True, slots=True)
class Timeliness:
    """Under one clause: `latest` is until when it had to be announced (UNIX seconds)."""

    rule: AnnouncementRule
    pack: str
    latest: float
    in_time: bool
    excused: bool
    """Too late, and allowed: it is urgent and the clause knows that."""


def announcing(
    packs: Mapping[str, Pack], named: Iterable[str], what: str, since: float, now: float, calendar: Calendar, *, urgent: bool
) -> list[Timeliness]:
    """Each clause of the packs named that gives notice of `what` a lead time, judged for an interruption from `since` on.

    Without a lead time of its own the clause says "beforehand": before it begins.
    """
    found = []
    for name in named:
        for rule in packs[name].rules if name in packs else ():
            if isinstance(rule, AnnouncementRule) and rule.what == what:
                latest = since if rule.lead is None else calendar.starts(rule.lead, since)
                in_time = now <= latest
                found.append(Timeliness(rule, name, latest, in_time, not in_time and urgent and rule.urgent))
    return found


def announcement_orders(packs: Mapping[str, Pack], interruption: Interruption) -> list[NoticeOrder]:
    """What is owed for an announced interruption: one posting under each clause it was announced under."""
    clauses = [
        rule.clause
        for name in interruption.packs
        for rule in (packs[name].rules if name in packs else ())
        if isinstance(rule, AnnouncementRule) and rule.what == interruption.what
    ]
    at = interruption.announced_at
    return [NoticeOrder(interruption.id, "", clause, Occasion.ANNOUNCEMENT, at) for clause in dict.fromkeys(clauses)]


def announced_things(packs: Mapping[str, Pack]) -> list[str]:
    """What the packs give lead times for, such as `maintenance`."""
    return sorted({rule.what for pack in packs.values() for rule in pack.rules if isinstance(rule, AnnouncementRule)})


def emergency_orders(packs: Mapping[str, Pack], emergency: Emergency, observed: Collection[str]) -> list[NoticeOrder]:
    """What is owed for an emergency: one posting under each clause it was declared under; of those `observed`, on the record alone."""
    known = {rule.clause for pack in packs.values() for rule in pack.rules if isinstance(rule, EmergencyRule)}
    return [
        NoticeOrder(emergency.id, "", clause, Occasion.EMERGENCY, emergency.since, clause in observed)
        for clause in emergency.clauses
        if clause in known
    ]


def publication_orders(packs: Mapping[str, Pack], now: float, kept: float = PUBLISHED_FOR) -> list[NoticeOrder]:
    """What has to be published at any time: how to opt out of each blocking. Another order after half of the time it is `kept`."""
    half = max(kept / 2, 1.0)
    return [
        NoticeOrder(f"opt-out-{pack.id}-{pack.version}", "", rule.opt_out_clause or rule.clause, Occasion.C2_BLOCK, now // half * half)
        for pack in packs.values()
        for rule in pack.rules
        if isinstance(rule, BlockRule) and rule.opt_out is OptOut.CUSTOMER
    ]


def consent_orders(packs: Mapping[str, Pack], before: Customer | None, after: Customer) -> list[NoticeOrder]:
    """What is owed to a customer whose record was put in the place of `before`: what the blocking is that they consented to now."""
    consent = after.consent
    if consent is None or (before is not None and before.consent is not None and before.consent.version == consent.version):
        return []
    found = [
        NoticeOrder(f"consent-{after.id}-{consent.version}", after.id, rule.opt_out_clause or rule.clause, Occasion.C2_BLOCK, 0.0)
        for name in after.terms
        for rule in (packs[name].rules if name in packs else ())
        if isinstance(rule, BlockRule) and rule.opt_out is OptOut.CUSTOMER and _covers(rule, consent.version)
    ]
    return list({one.key: one for one in found}.values())


def _covers(rule: BlockRule, version: str) -> bool:
    return rule.consent_required and (not rule.consent_versions or version in rule.consent_versions)
