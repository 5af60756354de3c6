"""Announcements of interruptions: whether one comes in time under each of the terms it concerns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sekisho.measures.standing import Calendar
from sekisho.model.clauses import AnnouncementRule, Pack
from sekisho.model.measures import Interruption, NoticeOrder, Occasion


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
