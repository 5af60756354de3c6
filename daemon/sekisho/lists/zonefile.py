"""Format `rpz`: a response policy zone as a zone file (RFC 1035 section 5).

Nearly every line of such a file is read by `zonescan`; this module reads the rest, with dnspython
for the record data: $ORIGIN, $TTL, owners carried on, several lines in parentheses, quoting.

The zone's own name, which is no part of a trigger, is `zone` of the list's definition; else the
owner of its SOA; else the first $ORIGIN. Where none is known, relative names are triggers as they
stand. $INCLUDE and $GENERATE are not followed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.ttl
import numpy as np
from numpy.typing import NDArray

from sekisho.lists import idn
from sekisho.lists.policyzone import SOA, PolicyZone
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import LINE, POSITION, cursor_at, drive, odd_text, start_of_text
from sekisho.lists.zonescan import scan_zone_text
from sekisho.model.lists import Trigger

DEFAULT_TTL = 300
"""Seconds, for local data of a zone file that names no TTL."""

_MAX_RECORD = 1 << 16
_MAX_VAIN = 1 << 24
"""Octets looked through for parentheses that do not close. A file in which none do is one whose entries are looked at a line at a time."""
_MEMO = 4096
_SPECIAL = frozenset('"();\\')
_OPEN = "its parentheses do not close"
_CLASSES = {"IN": dns.rdataclass.IN}


def read(data: NDArray[np.uint8], zone: str | None, rows: Rows, tally: Tally) -> None:
    """Read a zone file into `rows`."""
    reader = _Reader(rows, tally, PolicyZone(rows, tally))
    if zone is not None:
        reader.set_zone(idn.to_wire(zone))
        reader.fixed = True
    cursor, vain = cursor_at(start_of_text(data)), 0
    for line, start, end in drive(scan_zone_text, data, cursor, rows, reader.zone_array, reader.suffix_array, reader.sizes):
        text = ""
        try:
            text = odd_text(data, start, end)
            if "(" in text and _Depth().after(text):
                if vain > _MAX_VAIN:
                    raise ValueError(_OPEN)  # noqa: TRY301 - one place tells of an entry that is none
                vain += _MAX_RECORD
                text, stop, count = _whole(data, start)
                vain -= _MAX_RECORD
                cursor[POSITION], cursor[LINE] = stop + 1, line + count
            reader.entry(text, line)
        except ValueError as error:
            tally.skip(line, str(error), text.partition("\n")[0])
    reader.policy.close()


@dataclass(slots=True)
class _Reader:
    rows: Rows
    tally: Tally
    policy: PolicyZone
    zone: bytes | None = None
    origin: bytes | None = None
    ttl: int | None = None
    fixed: bool = False
    owner: list[bytes] | None = None
    """Labels of the last owner read here, without the zone's; None: the last row's."""
    counted: int = 0
    zone_array: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(256, np.uint8))
    suffix_array: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(256, np.uint8))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.array([0, 0, 1], np.int64))
    memo: dict[str, tuple[int, int, bytes]] = field(default_factory=dict)

    def set_zone(self, zone: bytes) -> None:
        self.zone = zone
        self.set_origin(self.origin or zone)

    def set_origin(self, origin: bytes) -> None:
        if self.zone is None and origin != b"\0":
            self.zone = origin
        self.origin = origin
        self.memo.clear()
        zone = self.zone or b""
        suffix = None if self.zone is None else _relative(origin, zone)
        self.zone_array[: len(zone)] = np.frombuffer(zone, np.uint8)
        self.suffix_array[: len(suffix or b"")] = np.frombuffer(suffix or b"", np.uint8)
        self.sizes[:] = len(zone), len(suffix or b""), suffix is not None

    def entry(self, text: str, line: int) -> None:
        """One entry of the file. Raises ValueError, without the text, for what is none."""
        if not text.strip() or text.lstrip().startswith(";"):
            return
        if text.startswith("$"):
            self._directive(text)
            return
        words = text.split(None, 1)
        if not text[0].isspace():
            labels = self._owner(words[0])
            rest = words[1] if len(words) > 1 else ""
        else:
            labels, rest = self._carried(), text
        soa = self._is_soa(rest)
        if soa and not self.fixed:
            self._zone_of_soa(words[0] if not text[0].isspace() else "")
            labels = []
        if labels is None:
            raise ValueError(
                "its name is outside the zone" if self.zone else "its name is absolute and the zone is not known; set `zone` of the list"
            )
        rtype, ttl, rdata = self._data(rest)
        self.owner, self.counted = labels, self.rows.count
        self.policy.record(labels, line, rtype, ttl, rdata)
        if self.rows.count > self.counted:
            self.counted = self.rows.count

    def _directive(self, text: str) -> None:
        words = text.partition(";")[0].split()
        match words[0].upper():
            case "$ORIGIN" if len(words) == 2:
                self.set_origin(_absolute(words[1], self.origin or b"\0"))
            case "$TTL" if len(words) == 2:
                try:
                    self.ttl = dns.ttl.from_text(words[1])
                except dns.exception.DNSException:
                    raise ValueError("$TTL has no time after it") from None
                self.memo.clear()
            case "$INCLUDE" | "$GENERATE":
                raise ValueError(f"{words[0].upper()} is not followed; put the records themselves into the file")
            case _:
                raise ValueError("it is no directive of a zone file")

    def _owner(self, word: str) -> list[bytes] | None:
        """Labels of an owner without the zone's; None if it is outside of the zone."""
        if word == "@":
            full = self.origin
            if full is None:
                return []
        else:
            if self.origin is None and not word.endswith("."):
                return idn.split(_absolute(word, b"\0"))
            full = _absolute(word, self.origin or b"\0")
        if self.zone is None:
            return None
        relative = _relative(full, self.zone)
        return None if relative is None else idn.split(relative + b"\0")

    def _carried(self) -> list[bytes]:
        """The owner of the entry before: the last row's if the scanner wrote one since."""
        if self.rows.count > self.counted:
            row = self.rows.count - 1
            labels = idn.split(self.rows.name(row))
            return [b"*", *labels] if self.rows.triggers[row] == Trigger.BELOW else labels
        if self.owner is None:
            raise ValueError("it carries on an owner and there is none before it")
        return self.owner

    @staticmethod
    def _is_soa(rest: str) -> bool:
        return any(word.upper() == "SOA" for word in rest.split(None, 3)[:3])

    def _zone_of_soa(self, word: str) -> None:
        if word and word != "@":
            zone = _absolute(word, self.origin or b"\0")
            if word.endswith(".") or self.origin is not None:
                self.zone = zone
                self.set_origin(self.origin or zone)
        elif self.origin is not None:
            self.zone = self.origin
            self.set_origin(self.origin)
        self.fixed = True

    def _data(self, rest: str) -> tuple[int, int, bytes]:
        """Type, TTL and wire form of what follows an owner."""
        plain = _SPECIAL.isdisjoint(rest)
        if plain and rest in self.memo:
            return self.memo[rest]
        try:
            found = self._parse(rest)
        except (dns.exception.DNSException, ValueError, UnicodeError):
            # dnspython's message would carry the line.
            raise ValueError("it is no record") from None
        if plain:
            if len(self.memo) >= _MEMO:
                self.memo.clear()
            self.memo[rest] = found
        return found

    def _parse(self, rest: str) -> tuple[int, int, bytes]:
        tokens = dns.tokenizer.Tokenizer(rest)
        origin = dns.name.from_wire(self.origin or b"\0", 0)[0]
        ttl = DEFAULT_TTL if self.ttl is None else self.ttl
        token = tokens.get(want_leading=False).unescape()
        for _ in range(2):
            if token.value.upper() == "IN":
                token = tokens.get().unescape()
            elif token.value[:1].isdigit():
                ttl = dns.ttl.from_text(token.value)
                token = tokens.get().unescape()
        rtype = dns.rdatatype.from_text(token.value)
        rdata = dns.rdata.from_text(dns.rdataclass.IN, rtype, tokens, origin, relativize=False)
        if rtype == SOA and self.ttl is None:
            self.ttl = int(rdata.minimum)  # type: ignore[attr-defined]
        return int(rtype), ttl, rdata.to_wire() or b""


def _absolute(word: str, origin: bytes) -> bytes:
    """A name of a zone file as a canonical wire name. Raises ValueError, without the name, if it is none."""
    if not word.isascii():
        wire = idn.to_wire(word)
        return wire if word.endswith(".") else wire[:-1] + origin
    try:
        name = dns.name.from_text(word.lower(), dns.name.from_wire(origin, 0)[0])
        return name.canonicalize().to_wire() or b""
    except dns.exception.DNSException:
        raise ValueError("its name is no name") from None


def _relative(name: bytes, zone: bytes) -> bytes | None:
    """What of a name stands before the zone's labels; None if it is outside of the zone."""
    if not zone:
        return b""
    position = 0
    while len(name) - position > len(zone):
        position += name[position] + 1
    return name[:position] if name[position:] == zone else None


@dataclass(slots=True)
class _Depth:
    """How many parentheses are open, and in what the text ends that has been read: it is read once, line after line."""

    depth: int = 0
    quoted: bool = False
    comment: bool = False
    escaped: bool = False

    def after(self, text: str) -> int:
        """How many stay open at the end of this piece of the text."""
        for char in text:
            if self.escaped:
                self.escaped = False
            elif self.comment:
                self.comment = char != "\n"
            elif char == "\\":
                self.escaped = True
            elif char == '"':
                self.quoted = not self.quoted
            elif not self.quoted:
                self.comment = char == ";"
                self.depth += (char == "(") - (char == ")")
        return self.depth


def _whole(data: NDArray[np.uint8], start: int) -> tuple[str, int, int]:
    """An entry in parentheses: its text, where its last line ends, and how many lines it has."""
    block = data[start : min(len(data), start + _MAX_RECORD)].tobytes()
    begin = count = 0
    depth = _Depth()
    while True:
        end = block.find(b"\n", begin)
        end = len(block) if end < 0 else end
        count += 1
        try:
            # With the line feed, which ends a comment.
            open_ones = depth.after(block[begin : end + 1].decode("utf-8"))
        except UnicodeDecodeError:
            raise ValueError("the entry is not UTF-8") from None
        if open_ones <= 0:
            return block[:end].decode("utf-8"), start + end, count
        if end >= len(block):
            raise ValueError(_OPEN)
        begin = end + 1
