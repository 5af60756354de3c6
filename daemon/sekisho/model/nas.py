"""NASes asked to change a session: what is asked, of which session, and what they say (RFC 5176)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sekisho.model.customers import Prefix


class RequestKind(enum.StrEnum):
    LIMIT = "limit"
    """CoA-Request: the line is slowed."""
    LIFT = "lift"
    """CoA-Request: the line has its full speed again."""
    DISCONNECT = "disconnect"
    """Disconnect-Request: the session ends."""


class RequestOutcome(enum.StrEnum):
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    """No answer whose authenticator is right, to any of the retransmissions."""
    UNSENT = "unsent"
    """It could not be made or sent: no secret, no way to the NAS."""


class ErrorCause(enum.IntEnum):
    """Why a NAS refuses (RFC 5176 section 3.5). `NONE`: it does not say; `OTHER`: a number that is not of the RFC."""

    NONE = 0
    OTHER = 1
    RESIDUAL_SESSION_CONTEXT_REMOVED = 201
    INVALID_EAP_PACKET = 202
    UNSUPPORTED_ATTRIBUTE = 401
    MISSING_ATTRIBUTE = 402
    NAS_IDENTIFICATION_MISMATCH = 403
    INVALID_REQUEST = 404
    UNSUPPORTED_SERVICE = 405
    UNSUPPORTED_EXTENSION = 406
    INVALID_ATTRIBUTE_VALUE = 407
    ADMINISTRATIVELY_PROHIBITED = 501
    REQUEST_NOT_ROUTABLE = 502
    SESSION_CONTEXT_NOT_FOUND = 503
    SESSION_CONTEXT_NOT_REMOVABLE = 504
    OTHER_PROXY_PROCESSING_ERROR = 505
    RESOURCES_UNAVAILABLE = 506
    REQUEST_INITIATED = 507
    MULTIPLE_SESSION_SELECTION_UNSUPPORTED = 508

    @classmethod
    def of(cls, number: int | None) -> ErrorCause:
        """The cause of an Error-Cause attribute's value; None: there was none."""
        if number is None:
            return cls.NONE
        return cls(number) if number > cls.OTHER and number in cls._value2member_map_ else cls.OTHER

    @property
    def word(self) -> str:
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Limit:
    """A line's speed in bit/s, towards the customer and from them, and that of the contract it goes back to."""

    down: int
    up: int
    full_down: int
    full_up: int

    def part(self, lines: int) -> Limit:
        """Its equal part for each of so many lines that share it. The speed of the contract is each one's."""
        if lines == 1:
            return self
        return Limit(max(1, self.down // lines), max(1, self.up // lines), self.full_down, self.full_up)


@dataclass(frozen=True, slots=True)
class Target:
    """A session at a NAS, as far as it identifies it. `session` is empty where no accounting tells of it."""

    nas: str
    session: str
    """Acct-Session-Id."""
    user: str
    customer: str
    prefixes: tuple[Prefix, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Unique: a NAS, and a session of it or, without one, the customer."""
        return self.nas, self.session or f"@{self.customer}"


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a NAS may hold of a session: the limit it acknowledged, or one it was asked for.

    `certain`: the NAS acknowledged it, and nothing was asked since.
    """

    target: Target
    limit: Limit
    certain: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request. `error`: why it was not sent."""

    outcome: RequestOutcome
    cause: ErrorCause = ErrorCause.NONE
    error: str = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer is waited for: `timeout` seconds, doubled with each of `retries` retransmissions."""

    timeout: float
    retries: int
