"""A terms pack: one terms document, clause by clause, with the rules its clauses authorise.

Owns the keys of a pack file but for those of its rules (`rules`, `measurerules`), and what is wrong between
clauses. What a pack authorises for a customer is `entitlement`'s; where packs lie is `drivers.site`'s. Keys
are explained in `policies/README.md`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field, ValidationError

from sekisho.config.document import Document, scan_document
from sekisho.config.validation import FileModel, validate
from sekisho.config.values import Identifier, Paragraph, Text, Version
from sekisho.model.clauses import Clause, Pack, Rule
from sekisho.model.errors import ConfigError, Fault
from sekisho.terms import measurerules as lengths
from sekisho.terms import rules as names
from sekisho.terms.rules import CLAUSE_ID, RECORD_FIELDS, ClauseId, RecordEntry, Wrong

__all__ = ["RECORD_FIELDS", "ClauseEntry", "DocumentEntry", "PackFile", "RecordEntry", "parse_pack", "read_pack"]

RuleEntry = (
    names.BlockEntry
    | names.BudgetEntry
    | lengths.MeasureEntry
    | lengths.CreditEntry
    | lengths.AnnouncementEntry
    | lengths.DeliveryEntry
    | lengths.EmergencyEntry
)


class ClauseEntry(FileModel):
    """One clause of the document."""

    id: ClauseId
    """Its id: the pack's, a slash, and the article as the document numbers it."""
    article: Text
    """The article in the document's own words."""
    ja: Paragraph
    """What it says, short, in Japanese."""
    en: Paragraph
    """What it says, short, in English."""
    rules: tuple[Annotated[RuleEntry, Field(discriminator="kind")], ...] = ()
    """What it authorises."""
    informative: Paragraph | None = None
    """For a clause without rules: why no machine enforces it, or which rules keep to it."""


class DocumentEntry(FileModel):
    """The terms document the pack encodes."""

    title: Text
    """Its title."""
    operator: Text
    """Whose it is."""
    version: Text
    """Its own date or number: what a customer's consent names."""


class PackFile(FileModel):
    """A terms pack."""

    version: Version
    pack: Identifier
    """Id of the pack, as `terms:` and customers name it."""
    document: DocumentEntry
    """The terms document."""
    clauses: Annotated[tuple[ClauseEntry, ...], Field(min_length=1)]
    """Its clauses, in the document's order."""


def parse_pack(text: str, file: str) -> Pack:
    """The pack of a file's text. Raises ConfigError with every fault."""
    return read_pack(scan_document(text, file))


def read_pack(document: Document) -> Pack:
    try:
        parsed = validate(PackFile, document)
    except ConfigError as error:
        raise ConfigError([*error.faults, *_contradictions_of_the_rest(document)]) from None
    ids = [clause.id for clause in parsed.clauses]
    faults = list(_contradictions(document, parsed.pack, ids, dict(enumerate(parsed.clauses))))
    if faults:
        raise ConfigError(faults)
    clauses = tuple(
        Clause(entry.id, entry.article, entry.ja, entry.en, tuple(_rule(entry.id, rule) for rule in entry.rules), entry.informative or "")
        for entry in parsed.clauses
    )
    return Pack(parsed.pack, parsed.document.title, parsed.document.operator, parsed.document.version, clauses)


def _rule(clause: str, entry: RuleEntry) -> Rule:
    match entry:
        case names.BlockEntry():
            return names.block_rule(clause, entry)
        case names.BudgetEntry():
            return names.budget_rule(clause, entry)
        case lengths.MeasureEntry():
            return lengths.measure_rule(clause, entry)
        case lengths.CreditEntry():
            return lengths.credit_rule(clause, entry)
        case lengths.AnnouncementEntry():
            return lengths.announcement_rule(clause, entry)
        case lengths.DeliveryEntry():
            return lengths.delivery_rule(clause, entry)
        case lengths.EmergencyEntry():
            return lengths.emergency_rule(clause, entry)


def _contradictions_of_the_rest(document: Document) -> Iterator[Fault]:
    """What is wrong between the clauses that can be read, of a pack that as a whole cannot: all is told at once."""
    values = document.value if isinstance(document.value, dict) else {}
    pack, items = values.get("pack"), values.get("clauses")
    if not isinstance(pack, str) or not isinstance(items, list):
        return
    ids = [_clause_id(item) for item in items]
    readable: dict[int, ClauseEntry] = {}
    for index, item in enumerate(items):
        with contextlib.suppress(ValidationError):
            readable[index] = ClauseEntry.model_validate(item)
    yield from _contradictions(document, pack, ids, readable)


def _clause_id(item: object) -> str | None:
    """The id of a clause as it stands in the file, if it is one."""
    found = item.get("id") if isinstance(item, dict) else None
    return found if isinstance(found, str) and CLAUSE_ID.fullmatch(found) else None


def _contradictions(document: Document, pack: str, ids: Sequence[str | None], clauses: Mapping[int, ClauseEntry]) -> Iterator[Fault]:
    """What is wrong between the clauses of a pack. `ids` are those of all clauses, in order; None for one that is none."""
    first: dict[str, int] = {}
    misplaced: set[int] = set()
    for index, clause_id in enumerate(ids):
        if clause_id is None:
            continue
        place = ("clauses", index, "id")
        if clause_id.partition("/")[0] != pack:
            misplaced.add(index)
            yield document.fault(place, f"{clause_id} is not of this pack; its clauses start with {pack}/")
        if clause_id in first:
            misplaced.add(index)
            line = document.locate(("clauses", first[clause_id], "id"))[0]
            yield document.fault(place, f"{clause_id} already stands on line {line}; keep one of them")
        first.setdefault(clause_id, index)
    stated: dict[str, tuple[str | int, ...]] = {}
    for index, clause in clauses.items():
        if index not in misplaced:  # of a clause that has to go, nothing more is asked
            yield from _purpose_faults(document, index, clause)
        for number, rule in enumerate(clause.rules):
            at: tuple[str | int, ...] = ("clauses", index, "rules", number)
            for keys, message in _rule_faults(rule, first):
                yield document.fault((*at, *keys), message)
            once, key, words = _stated_once(rule, clause.id)
            if once is not None and once in stated:
                line = document.locate(stated[once])[0]
                yield document.fault((*at, key), f"{words}, and one stands on line {line}; keep one of them")
            elif once is not None:
                stated[once] = at


def _purpose_faults(document: Document, index: int, clause: ClauseEntry) -> Iterator[Fault]:
    """A clause authorises something, or may say why nothing of it is for a machine."""
    if clause.rules and clause.informative is not None:
        yield document.fault(("clauses", index, "informative"), "is for a clause without rules; leave it out, or the rules")


def _rule_faults(rule: RuleEntry, clauses: Collection[str]) -> Iterator[Wrong]:
    match rule:
        case names.BlockEntry():
            yield from names.block_faults(rule, clauses)
        case names.BudgetEntry():
            yield from names.budget_faults(rule)
        case lengths.MeasureEntry():
            yield from lengths.measure_faults(rule, clauses)
        case lengths.CreditEntry():
            yield from lengths.credit_faults(rule)
        case lengths.AnnouncementEntry() | lengths.DeliveryEntry() | lengths.EmergencyEntry():
            pass


def _stated_once(rule: RuleEntry, clause: str) -> tuple[str | None, str, str]:
    """What may be said once, the key that says it, and the sentence for the second.

    An act names the clause of a measure and who found it, a notice its channel: two rules would make it ambiguous.
    """
    match rule:
        case lengths.MeasureEntry():
            words = f"{clause} has one measure for what {rule.detector} finds; give each ground a clause of its own"
            return f"measure {clause} {rule.detector}", "detector", words
        case lengths.EmergencyEntry():
            return f"emergency {clause}", "kind", f"{clause} has one emergency rule"
        case lengths.CreditEntry():
            return "credit", "kind", "a pack has one credit for outages"
        case lengths.AnnouncementEntry():
            return f"announcement {rule.what}", "what", f"a pack has one lead time for {rule.what}"
        case lengths.DeliveryEntry():
            return f"delivery {rule.channel}", "channel", f"a pack says once when a notice by {rule.channel} counts as delivered"
        case names.BlockEntry() | names.BudgetEntry():
            return None, "", ""
