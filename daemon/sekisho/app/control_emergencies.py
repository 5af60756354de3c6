"""What concerns every measure at once: the hold of all enforcement, and emergencies."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from sekisho.app.control_core import Core
from sekisho.app.control_standing import emergency_clauses
from sekisho.config.validation import did_you_mean
from sekisho.model.errors import RefusedError
from sekisho.model.measureacts import EmergencyDeclared, EmergencyEnded, EnforcementHeld, EnforcementResumed
from sekisho.model.measures import Enforcement

Json = dict[str, Any]

LONGEST = 31 * 86400.0
"""Seconds for which an emergency can be declared; it can be declared again."""


async def hold(core: Core, reason: str, actor: str) -> Json:
    """Enforce nothing until it is resumed; so it is on return. Raises RefusedError if that is so already."""
    held = core.measures.book.hold
    if held is not None:
        raise RefusedError(f"enforcement is held already, by {held.by}: {held.reason}; `sekisho resume` ends it")
    recorded = await core.measures.record(EnforcementHeld(reason), core.clock(), actor)
    await core.measures.settle(core.clock())
    return {"held": True, "since": recorded.at, "by": actor, "reason": reason, "number": recorded.number}


async def resume(core: Core, reason: str, actor: str) -> Json:
    """Enforce again what is open now; so it is on return."""
    if core.measures.book.hold is None:
        raise RefusedError("enforcement is not held; `sekisho measures list` shows what is in force")
    recorded = await core.measures.record(EnforcementResumed(reason), core.clock(), actor)
    await core.measures.settle(core.clock())
    return {"held": False, "customers": len(core.measures.enforced()), "number": recorded.number}


async def start(core: Core, clauses: list[str], until: float, priority: list[str], reason: str, actor: str) -> Json:
    """Declare an emergency: customers without priority are limited as their terms say, until `until`; so it is on return.

    Every emergency clause there is, if none is named. Raises RefusedError for a clause that is none, for priority that
    nobody has, and for a time past or too far ahead.
    """
    now = core.clock()
    known = emergency_clauses(core.site)
    if not known:
        raise RefusedError("no clause of the terms in use speaks of emergencies; no clause, no limit: see `terms:` in sekisho.yaml")
    for clause in clauses:
        if clause not in known:
            raise RefusedError(f"{clause} is no clause for emergencies{did_you_mean(clause, known)}")
    if until <= now:
        raise RefusedError("the time it would end lies in the past; give a later one")
    if until > now + LONGEST:
        raise RefusedError("an emergency is declared for 31 days at most; give an earlier end, it can be declared again")
    priority = list(dict.fromkeys([*core.site.settings.measures.priority, *priority]))
    unknown = _unknown(core, priority)
    if unknown:
        raise RefusedError(f"{', '.join(unknown)} is neither a customer nor a group; whom it names must go on unlimited: correct it")
    declared = list(dict.fromkeys(clauses or known))
    recorded = await core.measures.record(EmergencyDeclared(declared, until, priority, reason), now, actor)
    await core.measures.settle(core.clock())
    return await show(core) | {"number": recorded.number}


async def end(core: Core, reason: str, actor: str) -> Json:
    if core.measures.book.emergency is None:
        raise RefusedError("no emergency is declared; `sekisho emergency start` declares one")
    recorded = await core.measures.record(EmergencyEnded(reason), core.clock(), actor)
    await core.measures.settle(core.clock())
    return await show(core) | {"number": recorded.number}


async def show(core: Core) -> Json:
    """The emergency there is, which of its clauses are observed only, and how many customers are limited by it."""
    view = core.measures.view(core.clock())
    emergency = view.book.emergency
    if emergency is None or view.now >= emergency.until:
        return {"emergency": None}
    observed = [clause for clause in emergency.clauses if view.observes(clause)]
    limited = await asyncio.to_thread(_count, list(core.measures.enforced().values()), set(emergency.clauses))
    return {
        "emergency": dataclasses.asdict(emergency),
        "observed": observed,
        "limited": limited,
        "held": view.book.hold is not None,
    }


def _count(enforced: list[Enforcement], clauses: set[str]) -> int:
    """How many are limited by one of the clauses: a million at most, in a thread."""
    return sum(1 for one in enforced if not clauses.isdisjoint(one.by))


def _unknown(core: Core, names: list[str]) -> list[str]:
    """Names that are neither a customer nor a group of one."""
    left = [name for name in names if core.people.find(name) is None]
    if left:
        groups = core.people.group_names()
        left = [name for name in left if name not in groups]
    return left
