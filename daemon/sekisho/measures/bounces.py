"""Delivery reports (RFC 3464), as mail servers send them to the address a notice came from.

Reads which recipients a message could not be delivered to. What is not such a report says nothing: an
automatic answer of a person on holiday is no bounce.
"""

from __future__ import annotations

import email
import re
from dataclasses import dataclass
from email.message import Message

from sekisho.measures.notices import Attempt, Outcome
from sekisho.model.errors import RefusedError

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


@dataclass(frozen=True, slots=True)
class Bounced:
    """One recipient a message failed for. `notice` is the id of the notice, where the report tells it."""

    address: str
    status: str
    notice: str


def read_report(raw: bytes) -> list[Bounced]:
    """The recipients a delivery report says have failed; none for a report of a delay or of a delivery.

    Raises RefusedError for what is no delivery report.
    """
    message = email.message_from_bytes(raw)
    part = next((one for one in message.walk() if one.get_content_type() in _STATUSES), None)
    groups = _inner(part) if part is not None else []
    if not groups:
        raise RefusedError("this is no delivery report (RFC 3464); give the whole message as it came, or the address that bounced")
    notice = _notice(message, groups[0])
    return [found for group in groups if (found := _recipient(group, notice)) is not None]


_STATUSES = frozenset({"message/delivery-status", "message/global-delivery-status"})


def _inner(part: Message) -> list[Message]:
    """The messages within a message."""
    payload = part.get_payload()
    return [one for one in payload if isinstance(one, Message)] if isinstance(payload, list) else []


def _recipient(group: Message, notice: str) -> Bounced | None:
    if str(group.get("Action", "")).strip().lower() != "failed":
        return None
    address = _address(group.get("Original-Recipient")) or _address(group.get("Final-Recipient"))
    status = _STATUS.search(str(group.get("Status", "")))
    return Bounced(address, status[0] if status else "", notice) if address else None


def _address(value: object) -> str:
    """`rfc822;c@example.com` as the address alone."""
    kind, _, address = str(value or "").partition(";")
    return address.strip().strip("<>") if kind.strip().lower() in {"rfc822", "utf-8"} and "@" in address else ""


def _notice(message: Message, head: Message) -> str:
    """The notice's id: of the envelope (RFC 3461 section 4.4), else of the message that is returned with the report."""
    envelope = str(head.get("Original-Envelope-Id", "")).strip()
    if envelope:
        return envelope
    for part in message.walk():
        kind = part.get_content_type()
        if kind == "message/rfc822":
            returned = next(iter(_inner(part)), None)
        elif kind in {"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"}:
            returned = email.message_from_string(str(part.get_payload(decode=False)))
        else:
            continue
        found = str(returned.get("Sekisho-Notice", "")).strip() if returned is not None else ""
        if found:
            return found
    return ""


def judge(code: int, status: str, *, recipient: bool) -> Outcome:
    """What a reply of an SMTP server means for the notice; `recipient`: it was the reply to the receiver's address.

    A permanent refusal of the address is a bounce, but for reasons of policy (5.7.x, RFC 3463): those are
    about us and not about the customer.
    """
    if 200 <= code < 300:
        return Outcome.SENT
    if code < 500:
        return Outcome.DEFERRED
    if recipient and not status.startswith("5.7."):
        return Outcome.BOUNCED
    return Outcome.REFUSED


def attempt(code: int, text: str, *, recipient: bool) -> Attempt:
    """The attempt a reply ends; of its text the enhanced status alone is kept, the rest may name the customer."""
    status = _STATUS.match(text.strip())
    where = "the receiver's address" if recipient else "the message"
    shown = f"{code} {status[0]}" if status else str(code)
    outcome = judge(code, status[0] if status else "", recipient=recipient)
    detail = "" if outcome is Outcome.SENT else f"the mail server answered {shown} to {where}"
    return Attempt(outcome, detail, code, status[0] if status else "")
