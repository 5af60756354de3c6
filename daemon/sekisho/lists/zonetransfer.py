"""A zone transfer's messages to rows: AXFR (RFC 5936) and IXFR (RFC 1995), as a state machine fed bytes.

Owns the order of a transfer's records: SOA first, SOA last, and in an incremental one the pairs
of deletions and additions between. The zone itself is never held: a full transfer becomes rows at
once, an incremental one becomes differences for `delta`. Sockets and TSIG are the driver's.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import numpy as np
from numpy.typing import NDArray

from sekisho.lists import idn
from sekisho.lists.policyzone import SOA, PolicyZone
from sekisho.lists.recordscan import MALFORMED, record_starts, scan_records, wire_name
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import COUNT, DONE, END, FULL, LINE, POSITION, USED, octets
from sekisho.lists.zonescan import WIDEST, within
from sekisho.model.errors import FeedError

MOST_STEPS, MOST_CHANGES = 1 << 14, 1 << 20
"""Deletions and additions of one incremental transfer, in turn, and their records; with more the zone is transferred whole."""


class Transferred(enum.Enum):
    """What a transfer turned out to be."""

    CURRENT = "current"
    """Our serial is the primary's."""
    FULL = "full"
    DELTA = "delta"


class _State(enum.Enum):
    FIRST = 0
    """Before the first SOA."""
    SECOND = 1
    """After it, when an incremental transfer was asked: a SOA now means differences follow."""
    FULL = 2
    DELETING = 3
    ADDING = 4
    DONE = 5


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that one step of an incremental transfer deletes or adds."""

    adding: bool
    rows: Rows


@dataclass(slots=True)
class ZoneReader:
    """Feed it the messages of one transfer until it is done.

    `asked` is the serial of the incremental transfer asked for, or None for a full one.
    """

    zone: bytes
    tally: Tally
    asked: int | None = None
    serial: int = 0
    """The primary's serial, known after the first message."""
    rows: Rows = field(default_factory=Rows)
    differences: list[Difference] = field(default_factory=list)
    state: _State = _State.FIRST
    removed: Tally = field(init=False)
    """What the deletions of an incremental transfer speak of that had not been kept."""
    _whole: bool = False
    _numbered: int = 0
    _zone_array: NDArray[np.uint8] = field(init=False)
    _policy: PolicyZone = field(init=False)

    def __post_init__(self) -> None:
        self.removed = Tally(self.tally.file, self.tally.sealed)
        self._zone_array = octets(self.zone)
        self._policy = PolicyZone(self.rows, self.tally)

    @property
    def done(self) -> bool:
        return self.state is _State.DONE

    @property
    def outcome(self) -> Transferred:
        """What it was, once it is done."""
        if self.differences:
            return Transferred.DELTA
        return Transferred.FULL if self._whole else Transferred.CURRENT

    def feed(self, message: bytes | bytearray) -> bool:
        """Take in one message of the transfer; True when the transfer is complete. Raises FeedError."""
        array = octets(message)
        starts, scratch = np.zeros(2, np.int64), np.empty(WIDEST, np.uint8)
        if not record_starts(array, starts, scratch):
            raise FeedError("the primary sent a message that is not well-formed")
        rcode = message[3] & 15
        if rcode:
            name = dns.rcode.to_text(dns.rcode.Rcode(rcode))
            raise FeedError(f"the primary refused with {name}; check its transfer rules and the key")
        records = int.from_bytes(message[6:8], "big")
        cursor = np.array([starts[0], 0, 0, 0, 0, self._numbered], np.int64)
        while not self.done:
            rows = self._policy.rows
            cursor[COUNT], cursor[USED] = rows.count, rows.used
            limit = records
            if self.state in (_State.FIRST, _State.SECOND):
                limit = min(records, int(cursor[LINE]) + 1)
            status = scan_records(
                array, cursor, rows.blob, rows.offsets, rows.lines, rows.triggers, rows.actions,
                self._zone_array, len(self.zone), scratch, limit,
            )  # fmt: skip
            moved = int(cursor[COUNT]) > rows.count
            rows.count, rows.used = int(cursor[COUNT]), int(cursor[USED])
            if status == FULL:
                rows.grow()
            elif status == MALFORMED:
                raise FeedError("the primary sent a record that is not well-formed")
            elif status == DONE:
                if moved and self.state is _State.FIRST:
                    raise FeedError("the transfer does not start with the SOA of the zone")
                if moved and self.state is _State.SECOND:
                    self.state, self._whole = _State.FULL, True
                if int(cursor[LINE]) >= records:
                    break
            else:
                self._odd(message, array, cursor)
        self._numbered += records
        if self.differences and self._numbered > MOST_CHANGES:
            raise FeedError(f"its differences are more than {MOST_CHANGES} records; the whole zone is smaller")
        if self.state is _State.SECOND and self.serial == self.asked:
            self.state = _State.DONE
        return self.done

    def _odd(self, message: bytes | bytearray, array: NDArray[np.uint8], cursor: NDArray[np.int64]) -> None:
        """One record the fast path left: its meaning, or what it says of the transfer's order."""
        owner = np.empty(512, np.uint8)
        after, size = wire_name(array, int(cursor[POSITION]), owner, 0)
        rtype = int.from_bytes(message[after : after + 2], "big")
        ttl = int.from_bytes(message[after + 4 : after + 8], "big")
        length = int.from_bytes(message[after + 8 : after + 10], "big")
        name = owner[:size].tobytes()
        cursor[POSITION], cursor[LINE] = cursor[END], cursor[LINE] + 1
        if int.from_bytes(message[after + 2 : after + 4], "big") != 1:
            return
        if rtype == SOA and name == self.zone:
            self._soa(int.from_bytes(message[after + 10 + length - 20 : after + 10 + length - 16], "big"))
            return
        if self.state is _State.FIRST:
            raise FeedError("the transfer does not start with the SOA of the zone")
        if self.state is _State.SECOND:
            self.state, self._whole = _State.FULL, True
        line = self._numbered + int(cursor[LINE])
        # By labels, not by octets: one label of a hostile name may hold the zone's whole wire form.
        cut = within(owner, 0, size, self._zone_array, len(self.zone))
        if cut < 0:
            self.tally.skip(line, "its name is outside the zone")
            return
        try:
            kind = dns.rdatatype.RdataType.make(rtype)
            rdata = dns.rdata.from_wire(dns.rdataclass.IN, kind, bytes(message), after + 10, length).to_wire() or b""
        except (dns.exception.DNSException, ValueError):
            self.tally.skip(line, "its data is not what its type has")
            return
        self._policy.record(idn.split(name[:cut] + b"\0"), line, rtype, ttl, rdata)

    def _soa(self, serial: int) -> None:
        match self.state:
            case _State.FIRST:
                self.serial = serial
                self._whole = self.asked is None
                self.state = _State.FULL if self._whole else _State.SECOND
            case _State.SECOND if serial == self.serial:
                # An incremental transfer answered with a full one of an empty zone: SOA, SOA.
                self.state, self._whole = _State.DONE, True
            case _State.SECOND | _State.ADDING:
                if self.state is _State.ADDING and serial == self.serial:
                    self.state = _State.DONE
                    return
                self._step(adding=False)
                self.state = _State.DELETING
            case _State.DELETING:
                self._step(adding=True)
                self.state = _State.ADDING
            case _:
                if serial != self.serial:
                    raise FeedError("the zone changed while it was transferred; it is asked for again at the next refresh")
                self._policy.close()
                self.state = _State.DONE

    def _step(self, *, adding: bool) -> None:
        """Start the deletions or additions of one step. Raises FeedError at the bounds."""
        if len(self.differences) >= MOST_STEPS:
            raise FeedError(f"its differences have more than {MOST_STEPS} steps; the whole zone is smaller")
        rows = Rows()
        self.differences.append(Difference(adding, rows))
        self._policy = PolicyZone(rows, self.tally if adding else self.removed, grouped=False)


def query_serial(message: bytes, zone: bytes) -> int:
    """The serial in an answer to a SOA question. Raises FeedError if there is none."""
    reader = ZoneReader(zone, Tally("", sealed=True), asked=-1)
    reader.feed(message)
    if reader.state is _State.FIRST:
        raise FeedError("the primary answered without the SOA of the zone; check that it serves it")
    return reader.serial
