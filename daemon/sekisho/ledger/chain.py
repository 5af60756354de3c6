"""Events of the ledger, and the chain that proves none was changed, dropped or put in between.

    payload digest  BLAKE2b-256 of the canonical JSON of the act
    chain digest    BLAKE2b-256 of the previous chain digest, number, time, actor, kind and
                    payload digest, and of the version if it is not 1, every part behind its length

The chain covers digests of payloads and not the payloads: personal content can be erased after
its retention, and the chain still verifies. Version 1 is left out since events were written before
there were versions; parts are counted by their lengths, so no event of one version can be taken
for one of another.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

DIGEST_SIZE = 32
_LENGTH = struct.Struct(">I")
_NUMBERS = struct.Struct(">Qq")
_VERSION = struct.Struct(">q")


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it stands on disk. `at_us` is UNIX time in microseconds.

    `payload` is the canonical JSON of the act, or None once it was erased; `version` is that of
    the act's fields when it was written.
    """

    number: int
    at_us: int
    actor: str
    kind: str
    payload: bytes | None
    payload_digest: bytes
    chain: bytes
    version: int = 1


@dataclass(frozen=True, slots=True)
class Head:
    """The last event: its number and chain digest. Whoever keeps it elsewhere can prove that none behind it was dropped."""

    number: int
    chain: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.chain.hex()}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read `NUMBER:DIGEST`, the digest in hexadecimal. Raises ValueError."""
        number, _, chain = text.partition(":")
        head = cls(int(number), bytes.fromhex(chain))
        if head.number < 0 or len(head.chain) != DIGEST_SIZE:
            raise ValueError(text)
        return head


@dataclass(frozen=True, slots=True)
class Break:
    """An event at which a ledger does not verify, and why."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"event {self.number}: {self.reason}"


def genesis() -> bytes:
    """The chain digest before the first event."""
    return hashlib.blake2b(b"sekisho ledger 1", digest_size=DIGEST_SIZE).digest()


def digest_payload(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=DIGEST_SIZE).digest()


def digest_chain(previous: bytes, number: int, at_us: int, actor: str, kind: str, payload_digest: bytes, version: int = 1) -> bytes:
    """The chain digest of an event that follows `previous`."""
    who, what = actor.encode(), kind.encode()
    parts = [_LENGTH.pack(len(previous)), previous, _LENGTH.pack(_NUMBERS.size), _NUMBERS.pack(number, at_us)]
    parts += (_LENGTH.pack(len(who)), who, _LENGTH.pack(len(what)), what, _LENGTH.pack(len(payload_digest)), payload_digest)
    if version != 1:
        parts += (_LENGTH.pack(_VERSION.size), _VERSION.pack(version))
    return hashlib.blake2b(b"".join(parts), digest_size=DIGEST_SIZE).digest()


def link(previous: bytes, number: int, at_us: int, actor: str, kind: str, payload: bytes, version: int = 1) -> Event:
    """The event that carries `payload` as the successor of the chain digest `previous`."""
    payload_digest = digest_payload(payload)
    chain = digest_chain(previous, number, at_us, actor, kind, payload_digest, version)
    return Event(number, at_us, actor, kind, payload, payload_digest, chain, version)


class Verifier:
    """Checks events one after another, so that a long ledger is verified while it is read.

    Starts before the first event, or behind one that is known to hold.
    """

    __slots__ = ("chain", "number")

    def __init__(self, head: Head | None = None) -> None:
        self.chain = genesis() if head is None else head.chain
        self.number = 0 if head is None else head.number

    @property
    def head(self) -> Head:
        return Head(self.number, self.chain)

    def check(self, event: Event) -> Break | None:
        """Say what is wrong with `event` as the next one, or take it in and return None."""
        expected = self.number + 1
        if event.number != expected:
            return Break(expected, f"is missing; event {event.number} stands in its place")
        if event.payload is not None and digest_payload(event.payload) != event.payload_digest:
            return Break(event.number, "its content is not what its digest was made of; it was changed after it was written")
        chain = digest_chain(self.chain, event.number, event.at_us, event.actor, event.kind, event.payload_digest, event.version)
        if chain != event.chain:
            return Break(event.number, "its chain digest does not follow from the event before it; one of the two was changed")
        self.chain, self.number = chain, event.number
        return None


def verify(events: Iterable[Event]) -> Break | None:
    """The first bad event of a ledger read from its first event on, or None if all hold."""
    verifier = Verifier()
    for event in events:
        found = verifier.check(event)
        if found is not None:
            return found
    return None
