"""What a replay came to, as its answer: by clause and customer, in totals, and two policies side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sekisho.app.replay import Case, Replayed
from sekisho.detect.reasons import reasons
from sekisho.terms.describe import effect_words

Json = dict[str, Any]


def replayed_body(policy: str, found: Replayed) -> Json:
    """One policy's part of the answer; times are UNIX seconds."""
    recorded = found.recorded
    cases = [_case(one) for one in sorted(found.cases, key=lambda one: (one.clause, one.customer, one.since))]
    blocked = [
        {"clause": clause, "list": listed, "customer": customer, "answer": answer, "queries": count}
        for (clause, listed, customer, answer), count in sorted(found.blocked.items())
    ]
    return {
        "policy": policy,
        "recording": {
            "begin": recorded.begin,
            "end": recorded.end,
            "queries": recorded.queries,
            "answers": recorded.answers,
            "octets": recorded.octets,
            "nobody": recorded.nobody,
        },
        "customers": found.customers,
        "measures": cases,
        "blocked": blocked,
        "totals": _totals(cases, blocked),
        "notes": found.notes,
    }


def comparison_body(before: Json, after: Json) -> Json:
    """Who is affected under one policy and not the other, by clause; and queries blocked, by clause and list."""
    return {
        "measures": _differences(_affected(before), _affected(after)),
        "blocked": [
            {"clause": clause, "list": listed, "before": old, "after": new}
            for (clause, listed), (old, new) in _paired(_blocked(before), _blocked(after)).items()
        ],
    }


def _case(one: Case) -> Json:
    return {
        "clause": one.clause,
        "customer": one.customer,
        "detector": one.detector.value,
        "since": one.since,
        "until": one.until,
        "effect": one.rule.effect.value,
        "effect_words": effect_words(one.rule),
        "enforced": one.enforced,
        "lifted": one.lifted,
        "state": one.state.value,
        "due": one.due,
        "not_done": one.not_done,
        "evidence": dict(one.evidence),
        "reasons": reasons(one.detector, one.evidence),
    }


def _is_done(case: Json) -> bool:
    """Whether something would have been done to the customer."""
    return case["enforced"] is not None and case["not_done"] is None


def _totals(cases: Sequence[Json], blocked: Sequence[Json]) -> list[Json]:
    """By clause: customers found, those to whom something would have been done, and queries blocked."""
    clauses = sorted({one["clause"] for one in [*cases, *blocked]})
    made = []
    for clause in clauses:
        of = [one for one in cases if one["clause"] == clause]
        queries = [one for one in blocked if one["clause"] == clause]
        made.append(
            {
                "clause": clause,
                "found": len({one["customer"] for one in of}),
                "enforced": len({one["customer"] for one in of if _is_done(one)}),
                "blocked_customers": len({one["customer"] for one in queries}),
                "blocked_queries": sum(one["queries"] for one in queries),
            }
        )
    return made


def _affected(body: Json) -> dict[str, dict[str, bool]]:
    """By clause, who is found, and whether something would have been done to them."""
    found: dict[str, dict[str, bool]] = {}
    for one in body["measures"]:
        known = found.setdefault(one["clause"], {})
        known[one["customer"]] = known.get(one["customer"], False) or _is_done(one)
    return found


def _differences(before: dict[str, dict[str, bool]], after: dict[str, dict[str, bool]]) -> list[Json]:
    made = []
    for clause in sorted({*before, *after}):
        old, new = before.get(clause, {}), after.get(clause, {})
        made.append(
            {
                "clause": clause,
                "before": len(old),
                "after": len(new),
                "enforced_before": sum(old.values()),
                "enforced_after": sum(new.values()),
                "no_more": sorted(old.keys() - new.keys()),
                "newly": sorted(new.keys() - old.keys()),
            }
        )
    return made


def _blocked(body: Json) -> Counter[tuple[str, str]]:
    counted: Counter[tuple[str, str]] = Counter()
    for one in body["blocked"]:
        counted[one["clause"], one["list"]] += one["queries"]
    return counted


def _paired(before: Counter[tuple[str, str]], after: Counter[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, int]]:
    return {key: (before[key], after[key]) for key in sorted({*before, *after})}
