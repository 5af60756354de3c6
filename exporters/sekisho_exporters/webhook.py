"""Webhook: the headers that sign a delivery, by the scheme of Standard Webhooks (symmetric, `v1`).

    webhook-id         the numbers in the ledger of the first and the last event of the delivery
    webhook-timestamp  UNIX seconds of this attempt: refuse what is minutes old, and a replay fails
    webhook-signature  `v1,` and the HMAC-SHA256 of `<id>.<timestamp>.<body>` in base64

The id stays the same when a delivery is tried again, so that a receiver who keeps ids takes each once; the events'
own ids do for one who does not. Pure: no socket, no clock. Source: Standard Webhooks 1.0, "Webhook signature scheme".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from sekisho_exporters.cloudevents import BATCH_CONTENT_TYPE, CONTENT_TYPE, Envelope, encode, encode_batch

SECRET_PREFIX = "whsec_"  # noqa: S105 - what stands before a secret
MIN_SECRET = 24
"""Octets of a secret at least (Standard Webhooks: 24 to 64)."""


def read_secret(raw: bytes) -> bytes:
    """The key in a secret's file: base64 behind `whsec_`, else the text itself without white space around it.

    Raises ValueError, without the secret, if it is too short to be one.
    """
    text = raw.strip()
    if text.startswith(SECRET_PREFIX.encode()):
        try:
            text = base64.b64decode(text[len(SECRET_PREFIX) :], validate=True)
        except binascii.Error:
            raise ValueError(f"what stands behind {SECRET_PREFIX} is no base64") from None
    if len(text) < MIN_SECRET:
        raise ValueError(f"it has {len(text)} octets, fewer than {MIN_SECRET}")
    return text


def delivery(events: list[Envelope], secret: bytes | None, now: float, *, batch: bool) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one attempt at `now` (UNIX seconds). Events are at least one, and exactly one unless `batch`."""
    body = encode_batch(events) if batch else encode(events[0])
    first, last = events[0]["id"], events[-1]["id"]
    name = f"{first}-{last}" if batch else str(first)
    stamp = str(int(now))
    headers = {
        "content-type": f"{BATCH_CONTENT_TYPE if batch else CONTENT_TYPE}; charset=utf-8",
        "webhook-id": name,
        "webhook-timestamp": stamp,
    }
    if secret is not None:
        headers["webhook-signature"] = sign(secret, name, stamp, body)
    return body, headers


def sign(secret: bytes, name: str, stamp: str, body: bytes) -> str:
    """The signature of a delivery, as its header has it."""
    digest = hmac.new(secret, b".".join((name.encode(), stamp.encode(), body)), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
