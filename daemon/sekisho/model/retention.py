"""How long the content of each personal act is kept in the ledger once it is over.

An act is *over* when nothing it says is in force any more: an opt-out was taken back or has run
out, a customer's record was replaced, a measure was lifted, a notice went out. Kinds that are not
named here hold no personal content, or say what is in force for everybody, and are kept.

Five years is the prescription of a contract's claims (Japanese Civil Code, article 166); a
customer's record holds addresses and contacts that no claim needs, and is kept as long as matches.
"""

from __future__ import annotations

from collections.abc import Mapping

_DAY = 86400.0
_FIVE_YEARS = 1826 * _DAY
_THREE_YEARS = 1096 * _DAY

RETENTION: Mapping[str, float] = {
    "customer-added": 180 * _DAY,
    "customer-removed": 180 * _DAY,
    "optout-added": _FIVE_YEARS,
    "optout-removed": _FIVE_YEARS,
    "measure-opened": _FIVE_YEARS,
    "measure-sustained": _FIVE_YEARS,
    "measure-moved": _FIVE_YEARS,
    "measure-extended": _FIVE_YEARS,
    "termination-eligible": _FIVE_YEARS,
    "customer-exempted": _FIVE_YEARS,
    "exemption-ended": _FIVE_YEARS,
    "outage-opened": _FIVE_YEARS,
    "outage-closed": _FIVE_YEARS,
    "notice-queued": _THREE_YEARS,
    "notice-tried": _THREE_YEARS,
    "notice-deferred": _THREE_YEARS,
    "notice-sent": _THREE_YEARS,
    "notice-failed": _THREE_YEARS,
    "attention-opened": _THREE_YEARS,
    "attention-moved": _THREE_YEARS,
    "looked-up": _THREE_YEARS,
}
"""Kind of act -> seconds its content is kept after it is over."""
