"""Syslog: an event as a message of RFC 5424, and its frame on a stream (RFC 6587, octet counting).

The message's text is the event's JSON in ASCII, so that it needs no byte order mark (RFC 5424 section 6.4);
MSGID is the type's word, and the number in the ledger is the `sequenceId` of the structured data `meta`
(section 7.3.1). Pure: no socket, no clock.
"""

from __future__ import annotations

import enum
import re

from sekisho.model.eventtypes import PREFIX, VERSION
from sekisho_exporters.cloudevents import Envelope, encode

APP_NAME = "sekisho"
MAX_MESSAGE = 8192
"""Octets of a message. RFC 5424 section 6.1 has receivers take 2048; those in use take 8 KiB."""
_SEQUENCE_TOP = 2**31 - 1
_NIL = "-"
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


class Facility(enum.IntEnum):
    """RFC 5424, table 1: those an application may use."""

    USER = 1
    DAEMON = 3
    AUTH = 4
    AUTHPRIV = 10
    AUDIT = 13
    LOCAL0 = 16
    LOCAL1 = 17
    LOCAL2 = 18
    LOCAL3 = 19
    LOCAL4 = 20
    LOCAL5 = 21
    LOCAL6 = 22
    LOCAL7 = 23


class Severity(enum.IntEnum):
    """RFC 5424, table 2: those events have."""

    WARNING = 4
    NOTICE = 5


_WARNINGS = frozenset({"measure.termination-eligible", "enforcement.held", "emergency.declared", "outage.opened", "notice.failed"})


def message(event: Envelope, hostname: str, facility: Facility = Facility.LOCAL0, limit: int = MAX_MESSAGE) -> bytes:
    """The message of an event, at most `limit` octets long.

    An event that is longer comes without its `data` and says so (`datadropped`): the number tells where to find it.
    """
    whole = _message(event, hostname, facility)
    if len(whole) <= limit:
        return whole
    rest = {key: value for key, value in event.items() if key != "data"}
    return _message(rest | {"datadropped": "true"}, hostname, facility)


def octet_counted(one: bytes) -> bytes:
    """A message in its frame on a stream (RFC 6587 section 3.4.1)."""
    return b"%d %s" % (len(one), one)


def _message(event: Envelope, hostname: str, facility: Facility) -> bytes:
    word = str(event["type"]).removeprefix(PREFIX).removesuffix(f".{VERSION}")
    priority = facility * 8 + (Severity.WARNING if word in _WARNINGS else Severity.NOTICE)
    sequence = (int(event["id"]) - 1) % _SEQUENCE_TOP + 1
    host = _UNPRINTABLE.sub("", hostname)[:255] or _NIL
    head = f'<{priority}>1 {event["time"]} {host} {APP_NAME} {_NIL} {word[:32]} [meta sequenceId="{sequence}"] '
    return head.encode("ascii") + encode(event, ascii_only=True)
