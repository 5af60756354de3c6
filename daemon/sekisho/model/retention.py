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
_FIVE_YEARS = 1826 * _DAY
_THREE_YEARS = 1096 * _DAY

RETENTION: Mapping[str, float] = {
    CustomerAdded.kind: 180 * _DAY,
    CustomerRemoved.kind: 180 * _DAY,
    OptOutAdded.kind: _FIVE_YEARS,
    OptOutRemoved.kind: _FIVE_YEARS,
    MeasureOpened.kind: _FIVE_YEARS,
    MeasureSustained.kind: _FIVE_YEARS,
    MeasureMoved.kind: _FIVE_YEARS,
    MeasureExtended.kind: _FIVE_YEARS,
    TerminationEligible.kind: _FIVE_YEARS,
    CustomerExempted.kind: _FIVE_YEARS,
    ExemptionEnded.kind: _FIVE_YEARS,
    OutageOpened.kind: _FIVE_YEARS,
    OutageClosed.kind: _FIVE_YEARS,
    NoticeQueued.kind: _THREE_YEARS,
    NoticeTried.kind: _THREE_YEARS,
    NoticeSent.kind: _THREE_YEARS,
    NoticeFailed.kind: _THREE_YEARS,
    AttentionOpened.kind: _THREE_YEARS,
    AttentionMoved.kind: _THREE_YEARS,
    LookedUp.kind: _THREE_YEARS,
}
"""Kind of act -> seconds its content is kept after it is over."""
