"""Connection storms: many new connections, nearly all of them to a few targets (`network-service/16-15`).

Owns which rules it is about. A source counts a customer's new connections in the buckets of a sketch and hands in how many
there were, and how many of them lie in the few fullest buckets: which targets these are is known to nobody, kept nowhere, and
is no evidence. A share of few targets tells a storm from a busy server or a browser, which connect to many.
"""

from __future__ import annotations

from collections.abc import Iterable

from sekisho.model.clauses import MeasureRule
from sekisho.model.measures import Detector


def rules_of(rules: Iterable[MeasureRule]) -> list[MeasureRule]:
    """Those under which a storm may be found."""
    return [rule for rule in rules if rule.detector is Detector.CONNECTION_STORM]
