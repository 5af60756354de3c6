"""A verdict explained: the plane's own steps, the clause's words, and why each list does or does not reach the customer.

Owns the making of the answer. The verdict itself is the plane's (`drivers.verdicts`). No
answer repeats the name: that a sealed list holds it must not be told along with it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dns.exception
import dns.name
import dns.rdatatype
import numpy as np

from sekisho.app.control_enforcement import enforcement_body
from sekisho.app.control_reach import Reach
from sekisho.drivers.verdicts import Explanation
from sekisho.lists.idn import to_wire
from sekisho.model.clauses import Clause, Pack
from sekisho.model.errors import RefusedError
from sekisho.model.lists import Trigger
from sekisho.model.measures import Enforcement
from sekisho.model.verdicts import Step, Verdict
from sekisho.snapshot.entries import CompiledList

Json = dict[str, Any]


def question_name(text: str) -> bytes:
    """The canonical wire form of a name someone asks for: any octets, by IDNA 2008 where it is not ASCII.

    Raises RefusedError, without the name.
    """
    try:
        if not text.isascii():
            return to_wire(text)
        return bytes(dns.name.from_text(text).canonicalize().to_wire() or b"")
    except (ValueError, dns.exception.DNSException):
        raise RefusedError("what was given is no domain name; give one such as www.example.com") from None


def question_type(text: str) -> int:
    """A type's number, from `A`, `HTTPS` or `TYPE65`. Raises RefusedError."""
    try:
        return int(dns.rdatatype.from_text(text))
    except (ValueError, dns.exception.DNSException):
        raise RefusedError(f"{text!r} is no DNS type; give one such as A, AAAA, HTTPS or TYPE65") from None


def source_address(text: str) -> str:
    """An address in its usual form. Raises RefusedError."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise RefusedError(f"{text!r} is no address; give one such as 192.0.2.1 or 2001:db8::1") from None


def clause_of(packs: Mapping[str, Pack], clause_id: str | None) -> tuple[Pack, Clause] | None:
    """The clause of an id, and the pack it stands in."""
    for pack in packs.values() if clause_id else ():
        clause = pack.clause(str(clause_id))
        if clause is not None:
            return pack, clause
    return None


def clause_words(packs: Mapping[str, Pack], clause_id: str | None) -> Json | None:
    """What a clause says, in both languages, and where it stands."""
    found = clause_of(packs, clause_id)
    if found is None:
        return None
    pack, clause = found
    return {"id": clause.id, "article": clause.article, "title": pack.title, "version": pack.version, "ja": clause.ja, "en": clause.en}


def reach_body(reach: Reach) -> Json:
    return {
        "list": reach.list,
        "in_force": reach.in_force,
        "clause": reach.rule.clause if reach.rule is not None else None,
        "mandatory": reach.rule is not None and reach.rule.mandatory,
        "reason": reach.reason,
    }


def answer_lists(reaches: Sequence[Reach], compiled: Callable[[str], CompiledList]) -> list[str]:
    """The lists in force that what an answer leads to is judged by: they hold addresses, or aliases are looked up in them."""
    return [
        one.list
        for one in reaches
        if one.in_force
        and one.rule is not None
        and (one.rule.check_cnames or bool((compiled(one.list).triggers & np.uint8(Trigger.ADDRESS)).any()))
    ]


def explanation_body(
    explanation: Explanation,
    address: str,
    packs: Mapping[str, Pack],
    reaches: Sequence[Reach],
    enforcement: Enforcement,
    judging: Sequence[str] = (),
) -> Json:
    """The answer to `explain`, from the plane's explanation and what measures have in force on the customer.

    `judging`: `answer_lists`, which no explanation of a query asks.
    """
    verdict, step = explanation.verdict, explanation.step
    return {
        "verdict": verdict.value,
        "step": step.name.lower(),
        "action": explanation.action.name.lower() if explanation.list or verdict is Verdict.GARDENED else None,
        "customer": explanation.customer,
        "address": address,
        "list": explanation.list,
        "clause": explanation.clause,
        "summary": summary(verdict, step, explanation.customer, explanation.list, explanation.clause),
        "answer_lists": list(judging) if verdict is Verdict.ANSWERED and explanation.list is None else [],
        "clause_words": clause_words(packs, explanation.clause),
        "steps": [
            {"step": int(one.step), "label": one.label, "question": one.question, "outcome": one.outcome, "decided": one.decided}
            for one in explanation.steps
        ],
        "lists": [reach_body(reach) for reach in reaches],
        "measures": enforcement_body(enforcement),
    }


_UNDER = {
    Verdict.LIMITED: "The customer is over the hard query budget{under}.",
    Verdict.GARDENED: "The customer is suspended{under}: no name resolves but those let out of the walled garden.",
}


def summary(verdict: Verdict, step: Step, customer: str | None, list_id: str | None, clause: str | None) -> str:
    """The verdict in one sentence."""
    under = f" under clause {clause}" if clause else ""
    match verdict:
        case Verdict.BLOCKED:
            return f"List {list_id} holds the name and is in force for the customer{under}."
        case Verdict.SILENCED:
            return f"A measure{under} silences the customer: no query is answered while its condition lasts."
        case Verdict.LIMITED | Verdict.GARDENED:
            return _UNDER[verdict].format(under=under)
        case Verdict.REFUSED:
            if step is Step.SOURCE:
                return "The address is no customer's and in no allowed network: refused, since this is no open resolver (RFC 5358)."
            return "The query is refused as it is."
        case Verdict.ANSWERED:
            if list_id:
                return f"List {list_id} lets the name through{under}."
            if customer is None:
                return "The address is in an allowed network and no customer's: answered unfiltered."
            return "No list in force for the customer holds the name: answered."
