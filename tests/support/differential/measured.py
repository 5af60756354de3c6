"""What measures do to a customer, and an operator's exemptions from them, which run out: in plain words, and by the product's own rule."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

from sekisho.app.control_enforcement import combine
from sekisho.app.control_standing import View
from sekisho.drivers.site import load_pack
from sekisho.drivers.tablerows import CustomerRow
from sekisho.ledger.measures import MeasureBook
from sekisho.model.clauses import Pack
from sekisho.model.customers import Customer
from sekisho.model.events import Act, RecordedAct
from sekisho.model.measureacts import CustomerExempted, ExemptionEnded, MeasureMoved, MeasureOpened
from sekisho.model.measures import Cause, Detector, Effect, MeasureState
from support.plane import GROUNDS

PACK = "nbnet"
"""Of these terms the clauses are."""
_EFFECTS = dict(zip(GROUNDS, (Effect.SILENCE, Effect.WALLED_GARDEN), strict=True))
_DETECTORS = dict(zip(GROUNDS, (Detector.DNS_OVERLOAD, Detector.OPERATOR), strict=True))
_ENFORCED = {MeasureState.IN_FORCE, MeasureState.ENDING}


@dataclass(frozen=True)
class Taken:
    """A measure as far as it came."""

    clause: str
    state: MeasureState
    observe: bool


@dataclass(frozen=True)
class Spared:
    """An exemption from a clause, or (`holds` False) its end, as the operator said it. `until`: UNIX seconds."""

    clause: str
    holds: bool
    until: float | None


@dataclass(frozen=True)
class Sanctions:
    """What is on record of one customer: terms, exemptions of the customer file, measures, and words in the order they were said."""

    terms: tuple[str, ...]
    exempt: frozenset[str]
    taken: tuple[Taken, ...]
    words: tuple[Spared, ...]

    def does(self, clause: str, now: float) -> bool:
        """In plain words: whether a measure of that clause is enforced."""
        if PACK not in self.terms or clause in self.exempt:
            return False
        said = [word for word in self.words if word.clause == clause]
        if said and said[-1].holds and (said[-1].until is None or said[-1].until > now):
            return False
        return any(one.clause == clause and one.state in _ENFORCED and not one.observe for one in self.taken)

    def on(self, row: CustomerRow, now: float) -> CustomerRow:
        """The customer as they should be."""
        silenced, garden = (self.does(clause, now) for clause in GROUNDS)
        return replace(row, silenced=silenced, garden=garden and not silenced, measure=1 if silenced else 2 if garden else 0)


def enforced(row: CustomerRow, sanctions: Sanctions, now: float) -> CustomerRow:
    """The customer by the product's own rule, from acts as they are on record."""
    book = MeasureBook()
    for number, act in enumerate(_acts(row.id, sanctions), 1):
        book.apply(RecordedAct(number, now - 1000 + number, "uid:0", act))
    customer = Customer(row.id, sanctions.terms, exempt=tuple(sanctions.exempt))
    settings = SimpleNamespace(measures=SimpleNamespace(observes=lambda _: False), lines=None)
    people = SimpleNamespace(site=SimpleNamespace(packs=_packs(), settings=settings), find=lambda _: customer)
    what = View(cast("Any", people), book, now).enforcement(customer)
    free = replace(row, silenced=False, garden=False, measure=0)
    return combine(free, what, {clause: frozenset({effect}) for clause, effect in _EFFECTS.items()})


@functools.cache
def _packs() -> Mapping[str, Pack]:
    return {name: load_pack(name) for name in (PACK, "gunma")}


def _acts(identity: str, sanctions: Sanctions) -> list[Act]:
    found: list[Act] = []
    for number, one in enumerate(sanctions.taken):
        measure = f"m-{number}"
        found.append(MeasureOpened(measure, identity, one.clause, _DETECTORS[one.clause], {}, observe=one.observe, urgent=False))
        found.append(MeasureMoved(measure, identity, one.state, Cause.OPERATOR))
    for word in sanctions.words:
        said = CustomerExempted(identity, word.clause, "test", word.until) if word.holds else ExemptionEnded(identity, word.clause)
        found.append(said)
    return found


def make_sanctions(dice: random.Random, identities: Sequence[str], now: float) -> dict[str, Sanctions]:
    """By customer."""
    states = (
        MeasureState.FOUND,
        MeasureState.NOTICED,
        MeasureState.IN_FORCE,
        MeasureState.IN_FORCE,
        MeasureState.ENDING,
        MeasureState.LIFTED,
    )
    found = {}
    for identity in identities:
        taken = tuple(
            Taken(dice.choice(GROUNDS), dice.choice(states), dice.random() < 0.15) for _ in range(dice.choice((0, 0, 1, 1, 2)))
        )  # fmt: skip
        words = tuple(
            Spared(
                dice.choice(GROUNDS), dice.random() < 0.8, dice.choice((None, now + dice.randint(1, 10**6), now - dice.randint(0, 10**6)))
            )
            for _ in range(dice.choice((0, 0, 1, 2)))
        )
        terms = dice.choice(((PACK,), ("gunma", PACK), ("gunma",)))
        exempt = frozenset({dice.choice(GROUNDS)}) if dice.random() < 0.1 else frozenset[str]()
        found[identity] = Sanctions(terms, exempt, taken, words)
    return found
