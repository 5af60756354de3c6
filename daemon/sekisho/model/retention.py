"""How long the content of each personal act is kept in the ledger once it is over.

An act is *over* when nothing it says is in force any more: an opt-out was taken back or has run
out, a customer's record was replaced, a measure was lifted, a notice went out. Kinds that are not
named here hold no personal content, or say what is in force for everybody, and are kept.

Five years is the prescription of a contract's claims (Japanese Civil Code, article 166); a
customer's record holds addresses and contacts that no claim needs, and is kept as long as matches.
"""

from __future__ import annotations

from collections.abc import Mapping

from sekisho.model.events import (
    AttentionMoved,
    AttentionOpened,
    CustomerAdded,
    CustomerExempted,
    CustomerRemoved,
    ExemptionEnded,
    LookedUp,
    MeasureExtended,
    MeasureMoved,
    MeasureOpened,
    MeasureSustained,
    NoticeFailed,
    NoticeQueued,
    NoticeSent,
    NoticeTried,
    OptOutAdded,
    OptOutRemoved,
    OutageClosed,
    OutageOpened,
    TerminationEligible,
)

_DAY = 86400.0
_YEAR = 365.25 * _DAY

RETENTION: Mapping[str, float] = {
    CustomerAdded.kind: 180 * _DAY,
    CustomerRemoved.kind: 180 * _DAY,
    OptOutAdded.kind: 5 * _YEAR,
    OptOutRemoved.kind: 5 * _YEAR,
    MeasureOpened.kind: 5 * _YEAR,
    MeasureSustained.kind: 5 * _YEAR,
    MeasureMoved.kind: 5 * _YEAR,
    MeasureExtended.kind: 5 * _YEAR,
    TerminationEligible.kind: 5 * _YEAR,
    CustomerExempted.kind: 5 * _YEAR,
    ExemptionEnded.kind: 5 * _YEAR,
    OutageOpened.kind: 5 * _YEAR,
    OutageClosed.kind: 5 * _YEAR,
    NoticeQueued.kind: 3 * _YEAR,
    NoticeTried.kind: 3 * _YEAR,
    NoticeSent.kind: 3 * _YEAR,
    NoticeFailed.kind: 3 * _YEAR,
    AttentionOpened.kind: 3 * _YEAR,
    AttentionMoved.kind: 3 * _YEAR,
    LookedUp.kind: 3 * _YEAR,
}
"""Kind of act -> seconds its content is kept after it is over."""
