"""How an act is written down: canonical JSON, so one act has one digest.

Keys are sorted, there is no white space, text is UTF-8 and not escaped, and numbers are finite.
Fields with their default value are written too: a default that changes later must not change what
an old act said. Unknown fields of another program's act are refused, not dropped.

Each event carries the version of its kind's fields. What an old version said is read by taking its
fields one step up at a time (`STEPS`) until they are the ones the act has now; what is on disk
stays as it was written.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from sekisho.ledger.chain import Event
from sekisho.model.errors import LedgerError
from sekisho.model.events import ACTS, Act, RecordedAct

MICROSECONDS = 1_000_000
_KINDS: dict[str, type[Any]] = {act.kind: act for act in ACTS}
_FIELDS = {act.kind: tuple(field.name for field in dataclasses.fields(act)) for act in ACTS}
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

Fields = dict[str, Any]
Steps = Mapping[str, tuple[Callable[[Fields], Fields], ...]]

STEPS: Steps = {}
"""Kind of act -> how its fields of version 1 become those of version 2, those of 2 those of 3, and so on.

A field added with a default value needs no step: an act written before is read with the default. A
step is needed where a field is renamed, split or means something else; adding it raises the
version that is written.
"""


def version_of(kind: str, steps: Steps = STEPS) -> int:
    """The version acts of a kind are written in."""
    return len(steps.get(kind, ())) + 1


def encode(act: Act) -> bytes:
    """The canonical JSON of an act. Raises LedgerError for content that JSON cannot carry."""
    try:
        return _ENCODER.encode({name: getattr(act, name) for name in _FIELDS[act.kind]}).encode()
    except (TypeError, ValueError) as error:
        message = f"the act {act.kind} has content the ledger cannot write down: {type(error).__name__}"
        raise LedgerError(message) from None


def decode(kind: str, payload: bytes, version: int = 1, steps: Steps = STEPS) -> Act:
    """Read an act back, of whatever version it is. Raises LedgerError for a kind, version or field this program does not know."""
    cls = _KINDS.get(kind)
    if cls is None:
        message = f"the ledger holds an act of kind {kind!r} that this program does not know; run the version that wrote it, or a newer one"
        raise LedgerError(message)
    if not 1 <= version <= version_of(kind, steps):
        message = f"the ledger holds an act of kind {kind!r} in version {version} that this program does not know; run a newer version"
        raise LedgerError(message)
    try:
        fields = json.loads(payload)
        for step in steps.get(kind, ())[version - 1 :]:
            fields = step(fields)
        act: Act = cls(**fields)
    except (KeyError, TypeError, ValueError) as error:
        message = f"the ledger holds an act of kind {kind!r} whose fields this program does not know; run the version that wrote it"
        raise LedgerError(message) from error
    return act


def recorded(event: Event) -> RecordedAct | None:
    """The act an event carries, or None if its payload was erased."""
    if event.payload is None:
        return None
    return RecordedAct(event.number, event.at_us / MICROSECONDS, event.actor, decode(event.kind, event.payload, event.version))
