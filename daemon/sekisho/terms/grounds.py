"""Which clauses authorise a measure that acts on the DNS, and what it does there.

Their order numbers them on the customers' rows and in the snapshot (`snapshot.build`).
"""

from __future__ import annotations

from collections.abc import Mapping

from sekisho.model.clauses import EmergencyRule, MeasureRule, Pack
from sekisho.model.measures import Effect

ON_DNS = frozenset({Effect.SILENCE, Effect.WALLED_GARDEN, Effect.LIMIT_DNS})

Grounds = Mapping[str, frozenset[Effect]]
"""Clause id → what measures under it do to the DNS."""


def grounds_of(packs: Mapping[str, Pack]) -> Grounds:
    """The clauses of the packs that authorise a measure on the DNS, in the order of the packs."""
    found: dict[str, frozenset[Effect]] = {}
    for pack in packs.values():
        for rule in pack.rules:
            effect = Effect.LIMIT_DNS if isinstance(rule, EmergencyRule) else rule.effect if isinstance(rule, MeasureRule) else None
            if effect in ON_DNS:
                found[rule.clause] = found.get(rule.clause, frozenset()) | {effect}
    return found
