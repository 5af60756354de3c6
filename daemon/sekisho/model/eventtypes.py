"""The closed set of event types, by their words (`measure.in-force`); `publication` says of which acts they tell.

Apart from the acts, so that whoever only reads the configuration does not load them.
"""

from __future__ import annotations

PREFIX = "jp.sekisho."
VERSION = "v1"

WORDS: tuple[str, ...] = (
    "optout.added",
    "optout.removed",
    "customer.added",
    "customer.removed",
    "list.accepted",
    "exception.added",
    "exception.removed",
    "measure.found",
    "measure.noticed",
    "measure.in-force",
    "measure.ending",
    "measure.lifted",
    "measure.dismissed",
    "measure.extended",
    "measure.termination-eligible",
    "exemption.added",
    "exemption.ended",
    "enforcement.held",
    "enforcement.resumed",
    "emergency.declared",
    "emergency.ended",
    "outage.opened",
    "outage.closed",
    "interruption.announced",
    "notice.queued",
    "notice.sent",
    "notice.failed",
    "attention.opened",
    "attention.sent",
    "attention.answered",
    "attention.closed",
    "ledger.payloads-erased",
)
"""Every event type there is, by its word."""
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(word.partition(".")[0] for word in WORDS))
"""What stands before the dot: all types of a group together."""
