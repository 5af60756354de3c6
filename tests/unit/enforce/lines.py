"""Lines and limits of the tests of NASes."""

from __future__ import annotations

from sekisho.enforce.nas import Book
from sekisho.enforce.naslines import Pace
from sekisho.model.customers import Prefix
from sekisho.model.nas import ErrorCause, Limit, RequestKind, RequestOutcome, Target

SLOW = Limit(10_000_000, 1_000_000, 100_000_000, 10_000_000)
SLOWER = Limit(1_000_000, 100_000, 100_000_000, 10_000_000)
PACE = Pace(4, 10.0, 300.0)
ACK, NAK, SILENT, UNSENT = RequestOutcome.ACKNOWLEDGED, RequestOutcome.REFUSED, RequestOutcome.UNANSWERED, RequestOutcome.UNSENT
LIMIT, LIFT, DISCONNECT = RequestKind.LIMIT, RequestKind.LIFT, RequestKind.DISCONNECT
NONE = ErrorCause.NONE


def line(number=1, nas="bng-1", customer="c-1"):
    return Target(nas, f"s-{number}", f"user-{customer}@example.net", customer, (Prefix.parse(f"192.0.2.{number}"),))


def book(*remembered, nases=("bng-1",)):
    return Book(dict.fromkeys(nases, PACE), remembered)


def kinds(requests):
    return [(one.kind, one.target.session, one.limit) for one in requests]


def only(book, now=0.0):
    """The one request that is due."""
    requests = book.due(now)
    assert len(requests) == 1, requests
    return requests[0]


def acknowledged(book, now=0.0):
    """Have the NAS acknowledge whatever is due, until nothing is."""
    while requests := book.due(now):
        for one in requests:
            book.answered(one, ACK, NONE, now)
    return book
