"""Recordings of traffic, read from a file: captures of packets, flow records among them, and nfdump's.

Owns which reader a file is for, whose an address was, and what a reader hands on: counts by customer (`detect.recorded`).
Names that were asked for, and who talked to whom, go no further than the readers. Nothing is written.
"""

from __future__ import annotations

import bisect
import secrets
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sekisho.config.flows import FlowExporter
from sekisho.detect.recorded import BUCKETS, Recorded
from sekisho.model.customers import Prefix
from sekisho.model.errors import RefusedError
from sekisho.sessions.holding import Claim
from sekisho.sessions.stretches import UNCERTAIN, Stretches

NFCAPD = (b"\x0c\xa5", b"\xa5\x0c")
"""How files of nfcapd begin."""
_CAPTURES = (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b")
"""pcap with micro- and nanoseconds of either byte order, pcapng, and any of them by gzip."""
_CACHED = 1 << 20
LONGEST = 31 * 86400.0
"""Seconds a recording may span: what is longer has a clock that leapt."""

Judge = Callable[[int, bytes], tuple[str, str, str] | None]
"""What lists would have done to a query of the customer in a row: list, clause and answer. The name in canonical wire form."""


class Held(Protocol):
    """Who knows of the sessions that had an address (`drivers.recordedholders`)."""

    def claims(self, address: int) -> list[Claim]: ...


class Owners:
    """Whose an address was at a time: by the session that held it then, else by the fixed prefixes, which nest or are apart."""

    def __init__(self, prefixes: Iterable[tuple[Prefix, int]], held: Held | None = None, rows: Mapping[str, int] | None = None) -> None:
        """`held`: the sessions, if there is a record of them; `rows`: of the customers that hold some."""
        self._spans = sorted((prefix.value, -prefix.length, row) for prefix, row in prefixes)
        self._starts = [start for start, _, _ in self._spans]
        self._held, self._rows = held, rows or {}
        self._known: dict[int, tuple[int, Stretches | None]] = {}
        self._key = secrets.token_bytes(8)
        self.uncertain = 0
        """Packets or records of addresses that were somebody's, and not certainly whose."""

    def __len__(self) -> int:
        return len(self._spans)

    def row(self, address: int, at: float, port: int = 0) -> int:
        """The row of who held an address of the 128-bit space at a time (UNIX seconds), with a port where it has one; 0: nobody."""
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            claims = self._held.claims(address) if self._held is not None else []
            found = self._known[address] = self._look(address), Stretches(claims, self._row_of) if claims else None
        fixed, stretches = found
        if stretches is None:
            return fixed
        row = stretches.row(at, port or None)
        if row == UNCERTAIN:
            self.uncertain += 1
            return 0
        return row or fixed

    def _row_of(self, customer: str | None) -> int:
        return self._rows.get(customer, UNCERTAIN) if customer is not None else UNCERTAIN

    def _look(self, address: int) -> int:
        at = bisect.bisect_right(self._starts, address) - 1
        # Prefixes that nest are one customer's: a few steps back is the one that holds the address, if there is any.
        for start, length, row in reversed(self._spans[max(0, at - 128) : at + 1]):
            if address - start < 1 << 128 + length:
                return row
        return 0

    def bucket(self, target: int) -> int:
        """Where a target of connections falls in the sketch of this reading; which targets these are cannot be told from it."""
        return zlib.crc32(self._key + target.to_bytes(16, "big")) % BUCKETS


@dataclass(frozen=True, slots=True)
class Reading:
    """How a recording is to be read."""

    owners: Owners
    recorded: Recorded
    judge: Judge | None = None
    resolvers: frozenset[int] = frozenset()
    """Addresses of name servers whose queries count; none: any."""
    exporters: Sequence[FlowExporter] = ()
    notes: list[str] = field(default_factory=list)
    """What the reader has to say of the file, a sentence each."""

    def saw(self, at: float, path: Path) -> None:
        """Something was recorded at a time. Raises RefusedError where times are too far apart for one recording."""
        recorded = self.recorded
        if recorded.begin is not None and not recorded.end - LONGEST <= at <= recorded.begin + LONGEST:
            days = LONGEST / 86400
            raise RefusedError(
                f"the times in {path} are more than {days:g} days apart; cut it (`editcap -A ... -B ...`), or mend its clock"
            )
        recorded.saw(at)


def read_recording(path: Path, reading: Reading) -> None:
    """Read a file into `reading.recorded`. Raises RefusedError for what cannot be read, or is no recording."""
    from sekisho.drivers import recordednfdump, recordedpackets  # noqa: PLC0415 - the one that is needed brings much with it

    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise RefusedError(f"{path} cannot be read ({error.strerror}); name a capture or flow records") from error
    if head.startswith(_CAPTURES):
        recordedpackets.read(path, reading)
    elif head.startswith(NFCAPD):
        recordednfdump.read_binary(path, reading)
    elif recordednfdump.is_table(head):
        recordednfdump.read_table(path, reading)
    else:
        raise RefusedError(
            f"{path} is no recording; name a capture (pcap, pcapng), a file of nfcapd, or what `nfdump -r FILE -o csv` wrote"
        )
