"""CloudEvents 1.0: an act of the record as an event in the JSON format.

Owns the envelope. Which acts are published, under which type and without which fields is
`sekisho.model.publication`'s; the JSON Schemas of types are `schemas`'. Pure: no socket, no clock.

    id            the act's number in the ledger: with `source` it names the event for good
    source        the checkpoint, as its operator names it
    type          `jp.sekisho.measure.in-force.v1`, one of a closed set
    time          when it was recorded, RFC 3339, UTC
    subject       the customer, else the list, it is about; left out where it is about neither
    partitionkey  the customer (CloudEvents extension): events with one key come in order
    sequence      the number again, of fixed width (CloudEvents extension): sorts as text
    actor         who did it, as the ledger says (extension of ours)

Source: CloudEvents 1.0.2, its JSON format and its partitioning and sequence extensions.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from sekisho.model.events import RecordedAct
from sekisho.model.publication import published_fields, type_of, word_of

Envelope = dict[str, Any]

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/cloudevents+json"
BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"
_SEQUENCE_DIGITS = 20
# Made once: making one takes as long as an event does.
_UTF8 = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_ASCII = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def envelope(recorded: RecordedAct, source: str) -> Envelope | None:
    """The event of an act, or None for an act that is not published. `source` is a URI reference."""
    word = word_of(recorded.act)
    if word is None:
        return None
    data = {name: getattr(recorded.act, name) for name in published_fields(type(recorded.act))}
    found: Envelope = {
        "specversion": SPEC_VERSION,
        "id": str(recorded.number),
        "source": source,
        "type": type_of(word),
        "time": timestamp(recorded.at),
    }
    subject = data.get("customer") or data.get("list")
    if subject:
        found["subject"] = subject
    found |= {
        "datacontenttype": "application/json",
        "dataschema": schema_id(word),
        "sequence": str(recorded.number).zfill(_SEQUENCE_DIGITS),
        "actor": recorded.actor,
    }
    if data.get("customer"):
        found["partitionkey"] = data["customer"]
    found["data"] = data
    return found


def encode(event: Envelope, *, ascii_only: bool = False) -> bytes:
    """An event as JSON on one line, without the line's end."""
    return (_ASCII if ascii_only else _UTF8).encode(event).encode()


def encode_batch(events: list[Envelope]) -> bytes:
    """Events in the JSON batch format."""
    return b"[" + b",".join(encode(event) for event in events) + b"]"


def timestamp(at: float) -> str:
    """UNIX seconds as RFC 3339 in UTC, to the microsecond."""
    return f"{dt.datetime.fromtimestamp(at, dt.UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def schema_id(word: str) -> str:
    """The `dataschema` of a type, which is the `$id` of its file in `exporters/schemas/`."""
    return f"urn:sekisho:event:{type_of(word)}"
