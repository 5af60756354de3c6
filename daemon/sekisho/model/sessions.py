"""Access sessions: who was on which line, with which addresses, from when to when.

What RADIUS accounting says (RFC 2866, 2869, 3162, 4818, 6911), from the customer's side. Times are UNIX seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from sekisho.model.customers import Prefix

CGN = "flows/"
"""Begins the name of a NAS that is an exporter of flow records, before its address: each of its sessions is a block of ports."""


class AccountingKind(enum.StrEnum):
    START = "start"
    INTERIM = "interim"
    STOP = "stop"
    NAS_ON = "nas-on"
    NAS_OFF = "nas-off"


class AccountingOutcome(enum.StrEnum):
    """What became of a packet that came in."""

    TAKEN = "taken"
    """It is on disk and in force, and was answered."""
    REPEATED = "repeated"
    """The same packet again (RFC 5080 section 2.2.2): answered as before, or not while the first is in work."""
    IGNORED = "ignored"
    """Valid, and of a kind that says nothing about sessions; answered."""
    UNKNOWN_NAS = "unknown-nas"
    """From an address no NAS is configured for; not answered."""
    BAD_SECRET = "bad-secret"  # noqa: S105 - a word for the metric
    """The authenticators do not fit the secret; not answered (RFC 2866 section 4.1)."""
    MALFORMED = "malformed"
    """Not a packet of accounting, or without what it must have; not answered."""
    DROPPED = "dropped"
    """The kernel had no room for it; the NAS sends it again."""


class AccountingFault(enum.StrEnum):
    """Why a packet was refused."""

    NO_NAS = "no-nas"
    """It came from an address no NAS that is listened to has."""
    NO_NAME = "no-name"
    """No NAS of its address has the name it gives itself."""
    SECRET = "secret"  # noqa: S105 - a word for the record
    """Its authenticators do not fit the secret."""
    UNSIGNED = "unsigned"
    """It has no Message-Authenticator and must have one."""
    MALFORMED = "malformed"
    """Not a packet of accounting, or without what it must have."""


class SessionEnd(enum.StrEnum):
    """Why a session is over."""

    STOP = "stop"
    NAS_RESTART = "nas-restart"
    """The NAS said that it started or stops: none of its sessions goes on."""
    TIMEOUT = "timeout"
    """Nothing was heard of it for longer than the NAS is given."""
    REPLACED = "replaced"
    """Another session holds its addresses now."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a shared IPv4 address that are one customer's (CGN, MAP-E): `first` to `last`, both included.

    With `times` above 1 they come again every `step` ports, so many times in all: the port set of a MAP-E
    customer (RFC 7597 section 5.1).
    """

    first: int
    last: int
    step: int = 0
    times: int = 1

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Every range, first and last port."""
        for turn in range(self.times):
            yield self.first + turn * self.step, self.last + turn * self.step

    def holds(self, port: int) -> bool:
        if self.times == 1:
            return self.first <= port <= self.last
        turn, rest = divmod(port - self.first, self.step)
        return 0 <= turn < self.times and rest <= self.last - self.first

    def overlaps(self, other: Ports) -> bool:
        if self.times == other.times == 1:
            return self.first <= other.last and other.first <= self.last
        mine, theirs = list(self.ranges()), list(other.ranges())
        return any(first <= end and begin <= last for first, last in mine for begin, end in theirs)


@dataclass(frozen=True, slots=True)
class Share:
    """Some ports of an IPv4 address that several customers share."""

    prefix: Prefix
    ports: Ports

    def overlaps(self, other: Share) -> bool:
        return self.prefix == other.prefix and self.ports.overlaps(other.ports)

    def within(self, other: Share) -> bool:
        """Whether it is a part of another, as a range."""
        mine, theirs = self.ports, other.ports
        ranges = mine.times == theirs.times == 1 and theirs.first <= mine.first and mine.last <= theirs.last
        return self.prefix == other.prefix and (ranges or mine == theirs)


@dataclass(frozen=True, slots=True)
class Accounting:
    """One accounting request, as the NAS meant it."""

    kind: AccountingKind
    nas: str
    """Id of the NAS in the configuration; of several behind one entry `id:name`, by the name each gives itself."""
    at: float
    """When it happened: the time of receipt less Acct-Delay-Time."""
    session: str = ""
    """Acct-Session-Id; unique for one NAS only. Empty for NAS_ON and NAS_OFF."""
    user: str = ""
    """User-Name."""
    prefixes: tuple[Prefix, ...] = ()
    """Those that are the session's alone."""
    shares: tuple[Share, ...] = ()
    """Its parts of shared IPv4 addresses."""
    down: int | None = None
    """Octets towards the customer since the session began, Gigawords counted; None: it does not say."""
    up: int | None = None
    wide: bool = False
    """Gigawords were in it: its counters have 64 bits."""
    seconds: int | None = None
    """Acct-Session-Time."""
    gone: tuple[Share, ...] = ()
    """Parts of shared addresses that it has given back."""
    adds: bool = False
    """`shares` are held besides those of before; else they are all it holds."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session. `customer` None: the user is not known, and is never guessed."""

    nas: str
    id: str
    user: str
    customer: str | None
    since: float
    seen: float
    """Last heard of."""
    prefixes: tuple[Prefix, ...] = ()
    shares: tuple[Share, ...] = ()
    down: int = 0
    """Octets towards the customer; `up` those from them."""
    up: int = 0
    until: float | None = None
    """None: it goes on."""
    end: SessionEnd | None = None
