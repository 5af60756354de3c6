"""Lines at NASes and the NASes themselves, as they stand: the words of `nas`.

Owns what follows from a refusal, and how a NAS is asked. What is asked is `nas`'s.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from sekisho.model.nas import ErrorCause, Limit, Remembered, RequestKind, Target

Key = tuple[str, str]

TOLD_AFTER = 3
"""Attempts after which something that does not come about needs somebody."""


class Next(enum.Enum):
    """What follows from a refusal."""

    GONE = enum.auto()
    """There is no such session: nothing holds anything."""
    GIVE_UP = enum.auto()
    """The same request would be refused again: it is asked anew when something else is wanted, or with another configuration."""
    SLOWLY = enum.auto()
    """Somebody has to look at the NAS; it is asked again at its longest wait, so that one that was mended need not be told of here."""
    RETRY = enum.auto()
    """It may be another time: asked again after a wait that doubles."""


ON_CAUSE: Mapping[ErrorCause, Next] = {
    ErrorCause.NONE: Next.RETRY,
    ErrorCause.OTHER: Next.RETRY,
    ErrorCause.RESIDUAL_SESSION_CONTEXT_REMOVED: Next.GONE,
    ErrorCause.INVALID_EAP_PACKET: Next.RETRY,
    ErrorCause.UNSUPPORTED_ATTRIBUTE: Next.GIVE_UP,
    ErrorCause.MISSING_ATTRIBUTE: Next.GIVE_UP,
    ErrorCause.NAS_IDENTIFICATION_MISMATCH: Next.SLOWLY,
    ErrorCause.INVALID_REQUEST: Next.SLOWLY,
    ErrorCause.UNSUPPORTED_SERVICE: Next.GIVE_UP,
    ErrorCause.UNSUPPORTED_EXTENSION: Next.GIVE_UP,
    ErrorCause.INVALID_ATTRIBUTE_VALUE: Next.SLOWLY,
    ErrorCause.ADMINISTRATIVELY_PROHIBITED: Next.SLOWLY,
    ErrorCause.REQUEST_NOT_ROUTABLE: Next.RETRY,
    ErrorCause.SESSION_CONTEXT_NOT_FOUND: Next.GONE,
    ErrorCause.SESSION_CONTEXT_NOT_REMOVABLE: Next.SLOWLY,
    ErrorCause.OTHER_PROXY_PROCESSING_ERROR: Next.RETRY,
    ErrorCause.RESOURCES_UNAVAILABLE: Next.RETRY,
    ErrorCause.REQUEST_INITIATED: Next.RETRY,
    ErrorCause.MULTIPLE_SESSION_SELECTION_UNSUPPORTED: Next.GIVE_UP,
}
"""What each Error-Cause (RFC 5176 section 3.5) means for the next step."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How one NAS is asked. Seconds."""

    window: int
    """Requests under way at once."""
    backoff: float
    """Wait after a first failure; doubled after each."""
    backoff_max: float

    def wait(self, tries: int) -> float:
        """The wait after so many failures in a row, from 1."""
        return min(self.backoff_max, self.backoff * 2.0 ** min(tries - 1, 32))


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked of a NAS. `limit`: that to be in force; of a lift the one that ends, for the speed to go back to."""

    kind: RequestKind
    target: Target
    limit: Limit | None


@dataclass(slots=True)
class Line:
    """One session that is limited, is to be, or may be."""

    target: Target
    held: Limit | None = None
    """What the NAS acknowledged last; None: full speed."""
    doubt: Limit | None = None
    """What it was asked for since, or to end, and did not answer for; None: nothing."""
    live: bool = True
    """The session goes on, as far as is known."""
    ending: bool = False
    """The session is to be ended."""
    flight: Request | None = None
    tries: int = 0
    """Failures in a row."""
    due: float = 0.0
    given_up: Request | None = None
    """What was refused and is not asked again as it is, or only slowly."""
    cause: ErrorCause | None = None
    """Of the last refusal."""

    @property
    def takes(self) -> bool:
        """Whether it has a part of what its customer's lines share: not one that ends, nor one its NAS does not know."""
        return self.live and not self.ending and not self.unknown

    @property
    def slow(self) -> bool:
        """What was refused is asked again all the same, at the NAS's longest wait."""
        return self.given_up is not None and self.cause is not None and ON_CAUSE[self.cause] is Next.SLOWLY

    @property
    def unknown(self) -> bool:
        """Its NAS said that there is no such session."""
        return self.given_up is not None and self.cause is not None and ON_CAUSE[self.cause] is Next.GONE


@dataclass(slots=True)
class Nas:
    """One NAS, as it answers."""

    pace: Pace
    flights: int = 0
    silent_since: float | None = None
    tries: int = 0
    due: float = 0.0
    answers: int = 0
    """Answers until now."""
    answered_at: float | None = None
    lines: set[Key] = field(default_factory=set)
    queue: list[tuple[float, int, Key]] = field(default_factory=list)

    @property
    def room(self) -> int:
        """Requests that may be under way: one that does not answer is asked one thing at a time."""
        return self.pace.window if self.silent_since is None else 1


def memory_of(line: Line) -> Remembered | None:
    """What is to be written down of a line; None: its NAS holds nothing of it."""
    if line.flight is not None and line.flight.limit is not None:
        return Remembered(line.target, line.flight.limit, certain=False)
    if line.doubt is not None:
        return Remembered(line.target, line.doubt, certain=False)
    if line.held is not None:
        return Remembered(line.target, line.held, certain=True)
    return None
