"""The rules about names and queries that a clause authorises: blocking and the hard budget.

Owns the keys of `dns-block` and `dns-budget`, and what is wrong within one rule. Rules with a life cycle
are `measurerules`'s; the clauses they stand in are `pack`'s.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from sekisho.config.lists import AnswerField
from sekisho.config.validation import FileModel, did_you_mean, shown
from sekisho.config.values import Flag, Identifier, SomeSeconds, Text, Whole, as_items, as_text
from sekisho.model.clauses import BlockRule, BudgetRule, Ede, NoticeTime, OptOut, OverBudget, Record

CLAUSE_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?/[^\s,;/]{1,64}")
_EDE = {code.name.lower(): code for code in Ede}

RECORD_FIELDS = ("time", "customer", "clause", "list", "entry", "action")
"""What can be kept of a match: all that proves the measure, and nothing that names what was asked."""


def _as_clause_id(value: object) -> str:
    text = as_text(value)
    if not CLAUSE_ID.fullmatch(text):
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


ClauseId = Annotated[str, BeforeValidator(_as_clause_id), WithJsonSchema({"type": "string", "pattern": f"^{CLAUSE_ID.pattern}$"})]


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
    check_cnames: Flag = False
    """Whether aliases (CNAME) in answers are looked up in the lists too: a name is cut off if it leads to one that is."""
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


Wrong = tuple[tuple[str, ...], str]
"""What is wrong with a rule: the keys that lead there, and the sentence."""


def no_such_clause(cited: str | None, clauses: Collection[str], *keys: str) -> Iterator[Wrong]:
    """A clause that a rule cites and that the pack has not."""
    if cited is not None and cited not in clauses:
        yield keys, f"{cited} is no clause of this pack{did_you_mean(cited, clauses)}"


def record_of(entry: RecordEntry) -> Record:
    return Record(tuple(dict.fromkeys(entry.fields)), entry.retention)


def block_rule(clause: str, entry: BlockEntry) -> BlockRule:
    return BlockRule(
        clause=clause,
        categories=entry.categories,
        answer=entry.answer,
        opt_out=entry.opt_out.by,
        consent_required=entry.consent.required,
        consent_versions=entry.consent.versions,
        notice=entry.notice,
        ede=entry.ede,
        record=record_of(entry.record),
        opt_out_clause=entry.opt_out.clause,
        consent_clause=entry.consent.clause,
        check_cnames=entry.check_cnames,
    )


def budget_rule(clause: str, entry: BudgetEntry) -> BudgetRule:
    return BudgetRule(clause, entry.rate, entry.burst, entry.over, entry.notice, record_of(entry.record))


def budget_faults(rule: BudgetEntry) -> Iterator[Wrong]:
    if rule.burst < rule.rate // 100:
        yield ("burst",), "is too small for the rate; give at least the queries of 10 ms"


def block_faults(rule: BlockEntry, clauses: Collection[str]) -> Iterator[Wrong]:
    yield from no_such_clause(rule.opt_out.clause, clauses, "opt_out", "clause")
    yield from no_such_clause(rule.consent.clause, clauses, "consent", "clause")
    if rule.consent.versions and not rule.consent.required:
        yield ("consent", "versions"), "leave them out, or say `required: true`"
    if rule.opt_out.by is OptOut.NOBODY and rule.consent.required:
        yield ("consent",), "a rule nobody can opt out of cannot rest on consent: say `required: false`, or `opt_out: customer`"
