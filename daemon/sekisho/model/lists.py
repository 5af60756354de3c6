"""Block lists: what a definition says and what one entry means.

A *trigger* says which query names an entry holds, an *action* what is answered. RPZ's words are
used (draft-vixie-dnsop-dns-rpz): QNAME trigger, PASSTHRU, DROP, TCP-only, local data.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

MAX_LISTS = 64
"""Lists a snapshot can hold: one bit of a 64-bit mask each, in the order of their definitions."""


class Trigger(enum.IntFlag):
    """What an entry holds. Of names: EXACT, BELOW, or (scope `subtree`) both. Of a prefix: EXACT and one of ADDRESS and CLIENT."""

    EXACT = 1
    BELOW = 2
    ADDRESS = 4
    """The prefix holds an address in the answer (RPZ `rpz-ip`)."""
    CLIENT = 8
    """The prefix holds the address the query came from (RPZ `rpz-client-ip`)."""


PREFIXES = Trigger.ADDRESS | Trigger.CLIENT


class ActionKind(enum.IntEnum):
    """What is done with a query an entry holds. The numbers are part of the table format."""

    DEFAULT = 0
    """The list's own answer, else the rule's."""
    NXDOMAIN = 1
    NODATA = 2
    REFUSED = 3
    DROP = 4
    SINKHOLE = 5
    """Addresses of the operator's for A and AAAA, NODATA for every other type."""
    PASSTHRU = 6
    """The name is let through: no later list is asked."""
    TCP_ONLY = 7
    """Over UDP an empty answer with TC=1, over TCP let through (RPZ `rpz-tcp-only.`)."""
    LOCAL_DATA = 8
    """Records held by the list; NODATA for types it does not hold."""
    CHASE = 9
    """Local data that is a CNAME: answered over TCP with the target resolved; TC=1 over UDP."""
    EXCEPT = 10
    """An operator's exception: this list does not hold the name; other lists still may."""


@dataclass(frozen=True, slots=True)
class LocalRecord:
    """One record of local data. `rdata` is uncompressed wire format; `ttl` in seconds."""

    rtype: int
    ttl: int
    rdata: bytes


@dataclass(frozen=True, slots=True)
class Action:
    """An action with its records; `SINKHOLE` carries A (1) and AAAA (28) records."""

    kind: ActionKind
    records: tuple[LocalRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list.

    `name` is the canonical wire form: length-prefixed labels, ASCII lower case, ending in the
    root's zero byte (RFC 4034 section 6.2).
    """

    name: bytes
    """Or the key of a prefix (`model.addresses`)."""
    triggers: Trigger
    exact: Action | None = None
    """Action of the EXACT trigger; None means the list's own."""
    below: Action | None = None
    """Action of the BELOW trigger; None means the list's own."""


class ListFormat(enum.StrEnum):
    DOMAINS = "domains"
    HOSTS = "hosts"
    ADBLOCK = "adblock"
    RPZ = "rpz"
    AXFR = "axfr"
    CSV = "csv"
    JSON = "json"
    ADDRESSES = "addresses"


class Scope(enum.StrEnum):
    EXACT = "exact"
    SUBTREE = "subtree"

    @property
    def triggers(self) -> Trigger:
        return Trigger.EXACT if self is Scope.EXACT else Trigger.EXACT | Trigger.BELOW


@dataclass(frozen=True, slots=True)
class ListDefinition:
    """One list as the operator defined it; `order` is its place in the file and its mask bit."""

    id: str
    order: int
    category: str
    source: str
    format: ListFormat
    scope: Scope | None = None
    """None for `rpz` and `axfr`, whose zone says it."""
    answer: Action | None = None
    """None: the rule's answer, else NXDOMAIN."""
    sealed: bool = False
    refresh: float = 3600.0
    """Seconds between fetches of the source."""
    stale_after: float = 7 * 86400.0
    """Seconds without a good fetch after which `status` and metrics say stale."""
    max_shrink: float = 0.30
    """Share of entries a new version may lose before it is held for the operator."""
    max_bytes: int = 1 << 30
    timeout: float = 30.0
    """Seconds a fetch may take without progress."""
    column: str | None = None
    """Named column of `csv` and key of `json`."""
    zone: str | None = None
    """Zone name of `axfr`; the source is then `host:port`."""
    tsig: TsigKey | None = None
    never_block: tuple[str, ...] = field(default=())
    notify: str | None = None
    """Of `axfr`: the `host:port` (UDP and TCP) at which the primary's NOTIFY is listened for; None: it is not."""


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A TSIG key (RFC 8945). The secret is given, or read from `secret_file`, and never shown."""

    name: str
    algorithm: str
    secret_file: str
    secret: str | None = field(default=None, repr=False)
