"""Access sessions: who was on which line, with which addresses, from when to when.

What RADIUS accounting says (RFC 2866, 2869, 3162, 4818, 6911), from the customer's side. Times are UNIX seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sekisho.model.customers import Prefix


class AccountingKind(enum.StrEnum):
    START = "start"
    INTERIM = "interim"
    STOP = "stop"
    NAS_ON = "nas-on"
    NAS_OFF = "nas-off"


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
    """The ports of a shared IPv4 address that are one customer's (CGN, MAP-E): `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Accounting:
    """One accounting request, as the NAS meant it."""

    kind: AccountingKind
    nas: str
    """Id of the NAS in the configuration."""
    at: float
    """When it happened: the time of receipt less Acct-Delay-Time."""
    session: str = ""
    """Acct-Session-Id; unique for one NAS only. Empty for NAS_ON and NAS_OFF."""
    user: str = ""
    """User-Name."""
    prefixes: tuple[Prefix, ...] = ()
    ports: Ports | None = None
    down: int | None = None
    """Octets towards the customer since the session began, Gigawords counted; None: it does not say."""
    up: int | None = None
    seconds: int | None = None
    """Acct-Session-Time."""


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
    ports: Ports | None = None
    down: int = 0
    """Octets towards the customer; `up` those from them."""
    up: int = 0
    until: float | None = None
    """None: it goes on."""
    end: SessionEnd | None = None
