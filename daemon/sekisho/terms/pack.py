"""A terms pack: one terms document, clause by clause, with the rules its clauses authorise.

Owns the keys of a pack file. What a pack authorises for a customer is `entitlement`'s; where packs
lie is `drivers.site`'s. Keys are explained in `policies/README.md`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from sekisho.config.document import Document, scan_document
from sekisho.config.lists import AnswerField
from sekisho.config.validation import FileModel, did_you_mean, shown, validate
from sekisho.config.values import Flag, Identifier, Paragraph, SomeSeconds, Text, Version, Whole, as_items, as_text
from sekisho.model.clauses import BlockRule, BudgetRule, Clause, Ede, NoticeTime, OptOut, OverBudget, Pack, Record, Rule
from sekisho.model.errors import ConfigError, Fault

_CLAUSE_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?/[^\s,;/]{1,64}")
_EDE = {code.name.lower(): code for code in Ede}

RECORD_FIELDS = ("time", "customer", "clause", "list", "entry", "action")
"""What can be kept of a match: all that proves the measure, and nothing that names what was asked."""


def _as_clause_id(value: object) -> str:
    text = as_text(value)
    if not _CLAUSE_ID.fullmatch(text):
        raise ValueError(f"{shown(text)} is no clause id; write PACK/ARTICLE without spaces, such as gunma/19-2")
    return text


def _as_ede(value: object) -> Ede:
    if isinstance(value, Ede):
        return value
    if not isinstance(value, str) or value not in _EDE:
        raise ValueError(f"must be one of {', '.join(_EDE)}; found {shown(value)}")
    return _EDE[value]


def _by(value: object) -> object:
    return {"by": value} if isinstance(value, str) else value


def _required(value: object) -> object:
    return {"required": value} if isinstance(value, bool) else value


ClauseId = Annotated[str, BeforeValidator(_as_clause_id), WithJsonSchema({"type": "string", "pattern": f"^{_CLAUSE_ID.pattern}$"})]


class RecordEntry(FileModel):
    """What is kept of each decision, and how long."""

    fields: Annotated[
        tuple[Literal["time", "customer", "clause", "list", "entry", "action"], ...], BeforeValidator(as_items), Field(min_length=1)
    ]
    """Any of time, customer, clause, list, entry (its keyed digest) and action."""
    retention: SomeSeconds
    """How long; then it is purged."""


class OptOutEntry(FileModel):
    """Who can lift the rule for a customer."""

    by: OptOut
    """`customer`: the customer, at any time; `nobody`: the rule is mandatory."""
    clause: ClauseId | None = None
    """The clause that says so, if it is another one."""


class ConsentEntry(FileModel):
    """Whether the rule rests on the customer's prior consent."""

    required: Flag
    """Without a consent on record the rule does not reach the customer."""
    versions: Annotated[tuple[Text, ...], BeforeValidator(as_items)] = ()
    """Versions of the terms whose consent covers the rule; empty: any."""
    clause: ClauseId | None = None
    """The clause that requires it, if it is another one."""


class BlockEntry(FileModel):
    """Cut off name resolution for the lists of some categories."""

    kind: Literal["dns-block"]
    categories: Annotated[tuple[Identifier, ...], BeforeValidator(as_items), Field(min_length=1)]
    """Categories of lists: every list of these, and no other, is enforced under the clause."""
    answer: AnswerField | None = None
    """Answer of lists that give none of their own; left out: nxdomain."""
    opt_out: Annotated[
        OptOutEntry,
        BeforeValidator(_by),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["customer", "nobody"]},
                    {
                        "type": "object",
                        "properties": {"by": {"enum": ["customer", "nobody"]}, "clause": {"type": "string"}},
                        "required": ["by"],
                        "additionalProperties": False,
                    },
                ]
            }
        ),
    ]
    """Who can lift it for a customer: customer or nobody."""
    consent: Annotated[ConsentEntry, BeforeValidator(_required)]
    """Whether prior consent is needed."""
    notice: NoticeTime
    """Whether the customer is told: none, before or after."""
    ede: Annotated[Ede, BeforeValidator(_as_ede), WithJsonSchema({"enum": list(_EDE)})]
    """Extended DNS Error of the answer (RFC 8914): blocked (15), censored (16) or filtered (17)."""
    record: RecordEntry
    """What is kept of a match."""


class BudgetEntry(FileModel):
    """A hard query budget: a token bucket for each customer."""

    kind: Literal["dns-budget"]
    rate: Annotated[Whole, Field(ge=1, le=10_000_000)]
    """Queries per second."""
    burst: Annotated[Whole, Field(ge=1, le=100_000_000)]
    """Queries that may come at once."""
    over: OverBudget
    """What becomes of a query over the budget: `drop`, or `truncate` (TC=1: ask again over TCP)."""
    notice: NoticeTime
    """Whether the customer is told: none, before or after."""
    record: RecordEntry
    """What is kept of the restriction."""


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
    rules: tuple[Annotated[BlockEntry | BudgetEntry, Field(discriminator="kind")], ...] = ()
    """What it authorises; left out for a clause that only binds the operator."""


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
        Clause(entry.id, entry.article, entry.ja, entry.en, tuple(_rule(entry.id, rule) for rule in entry.rules))
        for entry in parsed.clauses
    )
    return Pack(parsed.pack, parsed.document.title, parsed.document.operator, parsed.document.version, clauses)


def _rule(clause: str, entry: BlockEntry | BudgetEntry) -> Rule:
    record = Record(tuple(dict.fromkeys(entry.record.fields)), entry.record.retention)
    if isinstance(entry, BudgetEntry):
        return BudgetRule(clause, entry.rate, entry.burst, entry.over, entry.notice, record)
    return BlockRule(
        clause=clause,
        categories=entry.categories,
        answer=entry.answer,
        opt_out=entry.opt_out.by,
        consent_required=entry.consent.required,
        consent_versions=entry.consent.versions,
        notice=entry.notice,
        ede=entry.ede,
        record=record,
        opt_out_clause=entry.opt_out.clause,
        consent_clause=entry.consent.clause,
    )


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
    return found if isinstance(found, str) and _CLAUSE_ID.fullmatch(found) else None


def _contradictions(document: Document, pack: str, ids: Sequence[str | None], clauses: Mapping[int, ClauseEntry]) -> Iterator[Fault]:
    """What is wrong between the clauses of a pack. `ids` are those of all clauses, in order; None for one that is none."""
    first: dict[str, int] = {}
    for index, clause_id in enumerate(ids):
        if clause_id is None:
            continue
        place = ("clauses", index, "id")
        if clause_id.partition("/")[0] != pack:
            yield document.fault(place, f"{clause_id} is not of this pack; its clauses start with {pack}/")
        if clause_id in first:
            line = document.locate(("clauses", first[clause_id], "id"))[0]
            yield document.fault(place, f"{clause_id} already stands on line {line}; keep one of them")
        first.setdefault(clause_id, index)
    for index, clause in clauses.items():
        for number, rule in enumerate(clause.rules):
            for keys, message in _budget_faults(rule) if isinstance(rule, BudgetEntry) else _block_faults(rule, first):
                yield document.fault(("clauses", index, "rules", number, *keys), message)


def _budget_faults(rule: BudgetEntry) -> Iterator[tuple[tuple[str, ...], str]]:
    if rule.burst < rule.rate // 100:
        yield ("burst",), "is too small for the rate; give at least the queries of 10 ms"


def _block_faults(rule: BlockEntry, clauses: Collection[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, cited in (("opt_out", rule.opt_out.clause), ("consent", rule.consent.clause)):
        if cited is not None and cited not in clauses:
            yield (key, "clause"), f"{cited} is no clause of this pack{did_you_mean(cited, clauses)}"
    if rule.consent.versions and not rule.consent.required:
        yield ("consent", "versions"), "leave them out, or say `required: true`"
    if rule.opt_out.by is OptOut.NOBODY and rule.consent.required:
        yield ("consent",), "a rule nobody can opt out of cannot rest on consent: say `required: false`, or `opt_out: customer`"
