"""Why a list reaches a customer or does not: consent, opt-outs that run out, of their own and of their group, exemptions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from sekisho.ledger.state import fold
from sekisho.model.clauses import Profile
from sekisho.model.customers import Consent, Customer
from sekisho.model.events import OptOutAdded, OptOutRemoved, RecordedAct
from sekisho.model.lists import ListDefinition
from sekisho.terms.entitlement import entitle

NOW = 1_800_000_000.0
VERSION = "2026-01-01"
"""Of the terms whose consent counts."""
GROUP = "office"
_BY = {True: "representative", False: "customer"}


@dataclass(frozen=True)
class Word:
    """An opt-out, or (`leaves` False) its end, as somebody asked for it. `until`: UNIX seconds."""

    list_id: str
    leaves: bool = True
    until: float | None = None
    group: bool = False
    """The representative asked for it, for all members."""


@dataclass(frozen=True)
class Person:
    """What a customer said, and what the operator exempts them from: ids of lists and clauses."""

    consent: str | None
    exempt: frozenset[str]
    member: bool
    words: tuple[Word, ...] = field(default=())
    """In the order they were said."""

    def is_reached(self, list_id: str, clause: str, *, mandatory: bool, consent: bool) -> bool:
        """In plain words, for a clause that is in the customer's terms."""
        if list_id in self.exempt or clause in self.exempt:
            return False
        said = [word for word in self.words if word.list_id == list_id]
        last = said[-1] if said else None
        if not mandatory and last is not None and last.leaves and (last.until is None or last.until > NOW):
            return False
        return not consent or self.consent == VERSION


def mask_of(identity: str, person: Person, profile: Profile, lists: Sequence[ListDefinition]) -> int:
    """The lists in force by the product's own rule, from acts as they are on record."""
    state = fold(
        RecordedAct(
            number,
            NOW - 1000 + number,
            "uid:0",
            OptOutAdded(identity, word.list_id, _BY[word.group], word.until)
            if word.leaves
            else OptOutRemoved(identity, word.list_id, _BY[word.group]),
        )
        for number, word in enumerate(person.words, 1)
    )
    consent = Consent(person.consent, "2026-01-01") if person.consent else None
    customer = Customer(identity, profile.terms, consent=consent, group=GROUP if person.member else None, exempt=tuple(person.exempt))
    return entitle(profile, lists, customer, state.opted_out(identity, NOW)).mask


def make_people(dice: random.Random, identities: Sequence[str], lists: int, clauses: Sequence[str]) -> dict[str, Person]:
    """By customer."""
    ids = [f"list-{order}" for order in range(lists)]
    shared = [_word(dice, ids, group=True) for _ in range(dice.randint(0, 2))]
    people = {}
    for identity in identities:
        member = dice.random() < 0.4
        words = [_word(dice, ids) for _ in range(dice.choice((0, 0, 1, 2, 3)))] + (shared if member else [])
        dice.shuffle(words)
        exempt = {dice.choice([*ids, *clauses]) for _ in range(dice.choice((0, 0, 0, 1)))}
        people[identity] = Person(dice.choice((None, VERSION, VERSION, "2020-01-01")), frozenset(exempt), member, tuple(words))
    return people


def _word(dice: random.Random, ids: Sequence[str], *, group: bool = False) -> Word:
    until = dice.choice((None, None, NOW + dice.randint(1, 10**6), NOW - dice.randint(0, 10**6)))
    return Word(dice.choice(ids), dice.random() < 0.8, until, group)
