"""How an act is written down: canonical JSON, so one act has one digest.

Keys are sorted, there is no white space, text is UTF-8 and not escaped, and numbers are finite.
Fields with their default value are written too: a default that changes later must not change what
an old act said. Unknown fields of an old program's act are refused, not dropped.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from sekisho.ledger.chain import Event
from sekisho.model.errors import LedgerError
from sekisho.model.events import ACTS, Act, RecordedAct

MICROSECONDS = 1_000_000
_KINDS: dict[str, type[Any]] = {act.kind: act for act in ACTS}


def encode(act: Act) -> bytes:
    """The canonical JSON of an act. Raises LedgerError for content that JSON cannot carry."""
    try:
        text = json.dumps(dataclasses.asdict(act), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (TypeError, ValueError) as error:
        message = f"the act {act.kind} has content the ledger cannot write down: {type(error).__name__}"
        raise LedgerError(message) from None


def decode(kind: str, payload: bytes) -> Act:
    """Read an act back. Raises LedgerError for a kind or field this program does not know."""
    cls = _KINDS.get(kind)
    if cls is None:
        message = f"the ledger holds an act of kind {kind!r} that this program does not know; run the version that wrote it, or a newer one"
        raise LedgerError(message)
    try:
        act: Act = cls(**json.loads(payload))
    except (TypeError, ValueError) as error:
        message = f"the ledger holds an act of kind {kind!r} whose fields this program does not know; run the version that wrote it"
        raise LedgerError(message) from error
    return act


def recorded(event: Event) -> RecordedAct | None:
    """The act an event carries, or None if its payload was erased."""
    if event.payload is None:
        return None
    return RecordedAct(event.number, event.at_us / MICROSECONDS, event.actor, decode(event.kind, event.payload))
