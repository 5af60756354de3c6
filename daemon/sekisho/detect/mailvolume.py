"""Mass mail: many new connections to ports of mail in a window (`nbnet/22-2-3`).

Owns which rules it is about. What is counted are connections to ports 25, 465 and 587, as the sources of `Traffic` see them: no
mail is looked at, nor to whom it goes.
"""

from __future__ import annotations

from collections.abc import Iterable

from sekisho.model.clauses import MeasureRule
from sekisho.model.measures import Detector

PORTS = (25, 465, 587)
"""Of mail: submission, and from server to server."""


def rules_of(rules: Iterable[MeasureRule]) -> list[MeasureRule]:
    """Those under which mass mail may be found."""
    return [rule for rule in rules if rule.detector is Detector.MAIL_VOLUME]
