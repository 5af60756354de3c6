"""How the lines of a NAS stand, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sekisho.enforce.nas import Book
from sekisho.model.nas import ErrorCause


@dataclass(frozen=True, slots=True)
class Tally:
    """How the lines of one NAS stand: counts, and refusals by cause."""

    wanted: int
    acknowledged: int
    """Of those wanted."""
    pending: int
    """Asked for, or to be asked again."""
    refused: int
    lifting: int
    """Limits without a reason, that may be there."""
    causes: Mapping[ErrorCause, int]


def tally(book: Book, nas: str) -> Tally:
    """How one NAS stands."""
    wanted = acknowledged = pending = refused = lifting = 0
    causes: Counter[ErrorCause] = Counter()
    for line in book.lines(nas):
        limit = book.limit_of(line)
        wanted += limit is not None
        if limit is not None and limit == line.held and line.doubt is None:
            acknowledged += 1
        elif line.given_up is not None:
            refused += 1
        elif limit is None and (line.held is not None or line.doubt is not None):
            lifting += 1
        else:
            pending += 1
        if line.cause is not None:
            causes[line.cause] += 1
    return Tally(wanted, acknowledged, pending, refused, lifting, causes)
