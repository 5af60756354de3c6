"""Events of the ledger, and the chain that proves none was changed, dropped or put in between.

    payload digest  BLAKE2b-256 of the canonical JSON of the act
    chain digest    BLAKE2b-256 of the previous chain digest, number, time, actor, kind and
                    payload digest, every part behind its length

The chain covers digests of payloads and not the payloads: personal content can be erased after
its retention, and the chain still verifies.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

DIGEST_SIZE = 32
_LENGTH = struct.Struct(">I")
_NUMBERS = struct.Struct(">Qq")


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it stands on disk. `at_us` is UNIX time in microseconds.

    `payload` is the canonical JSON of the act, or None once it was erased.
    """

    number: int
    at_us: int
    actor: str
    kind: str
    payload: bytes | None
    payload_digest: bytes
    chain: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """The first event at which a ledger does not verify, and why."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"event {self.number}: {self.reason}"


def genesis() -> bytes:
    """The chain digest before the first event."""
    return hashlib.blake2b(b"sekisho ledger 1", digest_size=DIGEST_SIZE).digest()


def digest_payload(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=DIGEST_SIZE).digest()


def digest_chain(previous: bytes, number: int, at_us: int, actor: str, kind: str, payload_digest: bytes) -> bytes:
    """The chain digest of an event that follows `previous`."""
    state = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for part in (previous, _NUMBERS.pack(number, at_us), actor.encode(), kind.encode(), payload_digest):
        state.update(_LENGTH.pack(len(part)))
        state.update(part)
    return state.digest()


def link(previous: bytes, number: int, at_us: int, actor: str, kind: str, payload: bytes) -> Event:
    """The event that carries `payload` as the successor of the chain digest `previous`."""
    payload_digest = digest_payload(payload)
    chain = digest_chain(previous, number, at_us, actor, kind, payload_digest)
    return Event(number, at_us, actor, kind, payload, payload_digest, chain)


class Verifier:
    """Checks events one after another, so that a long ledger is verified while it is read."""

    __slots__ = ("chain", "number")

    def __init__(self) -> None:
        self.chain = genesis()
        self.number = 0

    def check(self, event: Event) -> Break | None:
        """Say what is wrong with `event` as the next one, or take it in and return None."""
        expected = self.number + 1
        if event.number != expected:
            return Break(expected, f"is missing; event {event.number} stands in its place")
        if event.payload is not None and digest_payload(event.payload) != event.payload_digest:
            return Break(event.number, "its content is not what its digest was made of; it was changed after it was written")
        chain = digest_chain(self.chain, event.number, event.at_us, event.actor, event.kind, event.payload_digest)
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
