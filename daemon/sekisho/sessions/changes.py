"""What one step of the table of sessions leads to: facts for the disk, moves of addresses, octets used.

Facts are written in their order, each once; a session is known by its number, which no other ever has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sekisho.model.sessions import Ports, Session, SessionEnd

WHOLE = Ports(0, 65535)


class Opened(NamedTuple):
    number: int
    nas: str
    id: str
    user: str
    customer: str | None
    since: float
    seen: float
    down: int
    up: int
    seconds: int
    wide: bool


class Heard(NamedTuple):
    """A session was heard of. `seconds` -1: its time is not known."""

    number: int
    seen: float
    down: int
    up: int
    seconds: int
    wide: bool


class Held(NamedTuple):
    """A session has an address or prefix (`code`: value << 8 | length), or some ports of it, from now on."""

    number: int
    code: int
    ports: Ports
    since: float
    told: float | None = None
    """When the NAS allocated them as an event, which it takes back by another; None: it told what there is."""


class Told(NamedTuple):
    """Ports that begin at `first`, which a session has, were allocated to it by an event, or once more."""

    number: int
    code: int
    first: int
    told: float


class Released(NamedTuple):
    """What begins at the port `first` is held no more; 0: the whole. `aged`: nobody said so, it was held for longer than can be."""

    number: int
    code: int
    until: float
    first: int = 0
    aged: bool = False


class Over(NamedTuple):
    number: int
    until: float
    end: SessionEnd


class Revived(NamedTuple):
    """It was not over after all."""

    number: int


class Named(NamedTuple):
    """Whose a session is, found out anew."""

    number: int
    customer: str | None
    user: str | None = None
    """The User-Name, where that was told now only; None: it is as it was."""


Fact = Opened | Heard | Held | Told | Released | Over | Revived | Named


class Part(NamedTuple):
    """Some ports of a shared address (`code`) are a customer's from now on, None: of nobody whom we know; or are `given` up."""

    code: int
    ports: Ports
    customer: str | None
    given: bool = False


@dataclass(slots=True)
class Changes:
    """Collected over some steps, in their order."""

    facts: list[Fact] = field(default_factory=list)
    moves: dict[int, str | None] = field(default_factory=dict)
    """Prefix (`code`) -> the customer on whose line it is now; None: it is on nobody's whom we know."""
    shared: set[int] = field(default_factory=set)
    """Addresses (`code`) that customers began to share by ports, or share no more."""
    parts: list[Part] = field(default_factory=list)
    """What became of parts of shared addresses, in the order it did."""
    moved: set[str] = field(default_factory=set)
    """Customers who have other prefixes now than before."""
    begun: list[Session] = field(default_factory=list)
    """Sessions of customers that a Start told of, as they are then; `ended` as they were, with their end."""
    resumed: list[Session] = field(default_factory=list)
    """Those that go on: after all, though they were over here, or first heard of in their midst."""
    ended: list[Session] = field(default_factory=list)
    usage: list[tuple[str, int, int, float]] = field(default_factory=list)
    """Customer, octets towards them, octets from them, and of how many seconds they are."""
