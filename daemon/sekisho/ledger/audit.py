"""What an auditor asks of the ledger: does it hold, what does it say, what does it say of one customer.

Verifying goes on behind a bad event, so that each is named. Besides the chain it is checked that
content that is gone was erased on the record, and that the last event is there: the ledger writes
down with each commit which one it is.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sekisho.ledger.acts import MICROSECONDS
from sekisho.ledger.chain import Break, Event, Head, digest_chain, digest_payload, genesis
from sekisho.model.events import PayloadsErased

Json = dict[str, Any]

NAMED = 100
"""Bad events named at most; the first of them is the one that matters."""
_CANDIDATES = 64


class Audit:
    """Takes events one after another, as they are read, and names the bad ones.

    `number` and `chain` are those of the last event taken.
    """

    def __init__(self) -> None:
        self.events = 0
        self.erased = 0
        self.breaks: list[Break] = []
        self.head = Head(0, genesis())
        self._before: list[bytes] = [genesis()]
        self._gone: list[list[int]] = []
        self._named: set[int] = set()

    def take(self, event: Event) -> None:
        """The next event. Raises nothing: what is wrong is in `breaks`."""
        self.events += 1
        expected = self.head.number + 1
        if event.number > expected:
            self._missing(expected, event)
        elif event.number < expected:
            self._name(event.number, f"stands where event {expected} should")
        else:
            self._check(event)
        self.head = Head(event.number, event.chain)
        if event.payload is None:
            self.erased += 1
            self._erased(event.number)
        elif event.kind == PayloadsErased.kind:
            self._account(event.payload)

    def finish(self, recorded: Head | None, known: Iterable[Head] = ()) -> None:
        """All events were taken. `recorded` is the last event by the ledger's own word; `known` are heads noted elsewhere
        that stand behind it. Heads of events that were passed are checked by `expect`.
        """
        for head in (*([] if recorded is None else [recorded]), *known):
            if head.number > self.head.number:
                what = f"event {head.number} was the last" if head.number == self.head.number + 1 else f"the last was event {head.number}"
                self._name(self.head.number + 1, f"is missing; the ledger ends before it and {what}")
            elif recorded is head and head.number < self.head.number:
                self._name(head.number + 1, "stands behind the last event the ledger wrote; it was put there by another program")
            elif head.number == self.head.number and head.chain != self.head.chain:
                self._name(head.number, "is not the event that was noted as the last; the ledger was written anew")
        for first, last in self._gone:
            reason = "its content is gone, and no erasure on record says so"
            self._name(first, reason if first == last else f"{reason} (events {first} to {last})")
        self.breaks.sort(key=lambda one: one.number)

    def unreadable(self, why: object) -> None:
        """The file cannot be read behind the last event taken."""
        self._name(self.head.number + 1, f"cannot be read, nor what follows it: the file is damaged there ({why})")

    def expect(self, event: Event, known: Iterable[Head]) -> None:
        """Check an event against heads noted elsewhere."""
        if any(head.number == event.number and head.chain != event.chain for head in known):
            self._name(event.number, "is not the event that was noted under this number; the ledger was written anew up to it")

    def _check(self, event: Event) -> None:
        if event.payload is not None and digest_payload(event.payload) != event.payload_digest:
            self._name(event.number, "its content is not what its digest was made of; it was changed after it was written")
        made = [self._chain(before, event) for before in self._before]
        if event.chain in made:
            self._before = [event.chain]
            return
        self._name(event.number, "its chain digest does not follow from the event before it; it was changed, moved or put in its place")
        # Whichever of its digests the next event follows from, that one was true.
        self._before = [*self._before[-_CANDIDATES:], event.chain, *made[-_CANDIDATES:]]

    @staticmethod
    def _chain(before: bytes, event: Event) -> bytes:
        return digest_chain(before, event.number, event.at_us, event.actor, event.kind, event.payload_digest, event.version)

    def _missing(self, expected: int, event: Event) -> None:
        last = event.number - 1
        if expected == last:
            self._name(expected, f"is missing; event {event.number} stands in its place")
        else:
            self._name(expected, f"is missing, and all up to {last}; event {event.number} stands in its place")
        self._before = [event.chain]

    def _name(self, number: int, reason: str) -> None:
        if len(self.breaks) < NAMED and number not in self._named:
            self._named.add(number)
            self.breaks.append(Break(number, reason))

    def _erased(self, number: int) -> None:
        if self._gone and self._gone[-1][1] == number - 1:
            self._gone[-1][1] = number
        else:
            self._gone.append([number, number])

    def _account(self, payload: bytes) -> None:
        """Take what an erasure names from what is gone."""
        try:
            named = [(int(first), int(last)) for first, last in json.loads(payload)["events"]]
        except (KeyError, TypeError, ValueError):
            return
        if named:
            self._gone = list(_without(self._gone, sorted(named)))


def _without(runs: list[list[int]], others: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Runs of numbers without those of `others`; both ascending."""
    place = 0
    for first, last in runs:
        start = first
        while place < len(others) and others[place][1] < start:
            place += 1
        at = place
        while at < len(others) and others[at][0] <= last:
            if others[at][0] > start:
                yield [start, others[at][0] - 1]
            start = max(start, others[at][1] + 1)
            at += 1
        if start <= last:
            yield [start, last]


def exported(event: Event) -> Json:
    """An event as `audit export` writes it. `payload` is null where it was erased; `at` is UTC.

    The payload digest is BLAKE2b-256 of the payload as UTF-8 JSON with sorted keys and no white space.
    """
    return {
        "number": event.number,
        "at": moment(event.at_us),
        "at_us": event.at_us,
        "actor": event.actor,
        "kind": event.kind,
        "version": event.version,
        "payload": None if event.payload is None else _content(event.payload),
        "erased": event.payload is None,
        "payload_digest": event.payload_digest.hex(),
        "chain": event.chain.hex(),
    }


def told(event: Event) -> Json:
    """The same with the payload as it stands on disk besides, so that who asks can verify it."""
    return exported(event) | {"text": None if event.payload is None else event.payload.decode(errors="replace")}


def _content(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        # Changed by somebody: the export shows what is there.
        return payload.decode(errors="replace")


def imported(line: Mapping[str, Any]) -> Event:
    """An event of an export back; of its content the very `text`, where that is told too. Raises KeyError, TypeError or ValueError."""
    payload = line["payload"]
    text = None if payload is None else json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if payload is not None and "text" in line:
        text = str(line["text"]).encode()
    return Event(
        int(line["number"]),
        int(line["at_us"]),
        str(line["actor"]),
        str(line["kind"]),
        text,
        bytes.fromhex(line["payload_digest"]),
        bytes.fromhex(line["chain"]),
        int(line["version"]),
    )


def moment(at_us: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC; a time no calendar has, which somebody put there, as it is."""
    seconds, rest = divmod(at_us, MICROSECONDS)
    try:
        return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"
    except (OverflowError, OSError, ValueError):
        return f"{at_us} us"


def mark_of(customer: str) -> bytes:
    """What stands in the content of every act that names a customer."""
    return json.dumps(customer, ensure_ascii=False).encode()


def names(event: Event, customer: str) -> bool:
    """Whether an event is about a customer: it names them as its customer, or among others."""
    if event.payload is None or mark_of(customer) not in event.payload:
        return False
    content = _content(event.payload)
    if not isinstance(content, dict):
        return False
    return content.get("customer") == customer or any(isinstance(value, list) and customer in value for value in content.values())
