"""A reader of the shared tables in plain Python, written from FORMAT.md alone; it owns the verdict on one query.

It writes nothing: what it would count stands in the verdict, what it spends it remembers. Docstrings name FORMAT.md's sections.
"""

import contextlib
import ipaddress
import struct
import time
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from support.tablefiles import (
    CLIENT,
    WORD,
    TablesDamagedError,
    TablesError,
    TablesMissingError,
    TablesVersionError,
    damage,
    digests,
    open_container,
    prefix_labels,
    require,
    split_name,
)

NOBODY, NONE16, MAPPED, ANY, SECOND = 2**32 - 1, 0xFFFF, 0xFFFF, 255, 1_000_000_000
K1, K2, K3, K4 = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93
ACTIVE, SILENCED, TRUNCATE, WALLED_GARDEN = 1, 2, 4, 16
NOERROR, NXDOMAIN, REFUSED, EDE_BLOCKED, EDE_PROHIBITED = 0, 3, 5, 15, 18
TOTAL_TRUNCATED, TOTAL_PASSTHRU, TTL_LIST, TTL_GARDEN = 28, 31, 60, 10


class Kind(IntEnum):
    """The kind of an action (Snapshot sections)."""

    DEFAULT, NXDOMAIN, NODATA, REFUSED, DROP, SINKHOLE, PASSTHRU, TCP_ONLY, LOCAL_DATA, CHASE, EXCEPT = range(11)


class Step(IntEnum):
    """The step that decided, by its place in `totals` (The verdict)."""

    SOURCE, SILENCED, BUDGET, MANDATORY, ENTITLED, LET_THROUGH, GARDEN = 5, 6, 7, 8, 9, 11, 38


class Verdict(NamedTuple):
    """What becomes of a query (The verdict); with neither `rcode` nor `forward` there is no answer."""

    step: Step
    action: Kind
    forward: bool = False
    rcode: int | None = None
    truncated: bool = False
    records: tuple[tuple[int, int, bytes], ...] = ()  # type, TTL in seconds, data; owned by the query name
    soa_ttl: int | None = None
    ede: int | None = None  # for queries with EDNS
    text: str = ""
    order: int | None = None  # the list's bit
    clause: int | None = None
    totals: tuple[int, ...] = ()  # the cells of `totals` the query raises


def _bits(mask: int) -> Iterator[int]:
    return (bit for bit in range(mask.bit_length()) if mask >> bit & 1)


def _probe(first: int, slots: int) -> Iterator[int]:
    return (((first >> 32) * slots // 2**32 + step) % slots for step in range(slots))


def find_customer(tables: dict[str, memoryview], address: int) -> tuple[int, ...]:
    """Return row, lists, rate, burst, profile, measure, flags, limiter of the longest prefix owned; or all 0."""
    slots, rows = tables["slots"], tables["rows"]
    for length in reversed([*_bits(sum(word << 64 * place for place, word in enumerate(tables["present"])))]):
        high, low = divmod(address >> (128 - length) << (128 - length), 1 << 64)
        x = (high * K1 ^ low * K2 ^ length * K3) & WORD
        x = (x ^ x >> 32) * K4 & WORD
        x = (x ^ x >> 32) * K1 & WORD
        for slot in _probe(x, len(slots)):
            row, size = divmod(slots[slot, 2], 1 << 32)
            if not size:
                break
            if row != NOBODY and (size, slots[slot, 0], slots[slot, 1]) == (length + 1, high, low):
                words = struct.pack("<QQ", rows[row, 1], rows[row, 2])
                return (row, rows[row, 0], *struct.unpack("<IIHHHH", words))
    return (0,) * 8


class Tables:
    """The tables in force under `<runtime>/plane/`, followed from verdict to verdict (Following the head)."""

    def __init__(self, folder: Path, key: bytes) -> None:
        """Map what is in force; `key` is the list key of 16 bytes. Raises TablesError."""
        self.folder, self.key, self.refused = folder, key, list[TablesError]()
        self._words, self._full, self._spent = (0, 0), memoryview(b""), dict[int, int]()
        self._head = open_container(folder / "head")["values"]
        self._follow()

    @damage()
    def _follow(self) -> None:
        """Map what the head names now; what cannot be read is refused, and the last good one stays in force."""
        while (words := (self._head[0], self._head[1])) != self._words:
            require(all(words), TablesMissingError, self.folder, "nothing is published yet")
            try:
                tables = open_container(self.folder / f"snapshot-{words[0]}")
                *_, check = digests([b"sekisho-key", b"check", b"invalid"], self.key)
                require(check == tuple(tables["check"]), TablesVersionError, self.folder, "another list key")
                customers = open_container(self.folder / f"customers-{words[1]}")
            except TablesError as error:
                if words != (self._head[0], self._head[1]):
                    continue  # replaced meanwhile
                if self._words == (0, 0):
                    raise
                self.refused = [error]
                return
            self._spent = self._spent if words[1] == self._words[1] else {}
            self._tables, self._customers, self._words, self.refused = tables, customers, words, []
            with contextlib.suppress(TablesMissingError):  # no plane has spent anything yet
                self._full = open_container(self.folder / "budgets")["full"]

    def _is_over(self, row: int, rate: int, burst: int, now: int) -> bool:
        """Spend a query of the hard budget, or tell that there is none left (What the plane writes)."""
        cost, room = SECOND // rate, SECOND // rate * max(burst, 1)
        words = (word for word in (self._full[row], self._spent.get(row, 0)) if word <= now + room + SECOND)
        full = max([now, *words]) + cost
        if not (over := full > now + room):
            self._spent[row] = full
        return over

    def _find(self, digest: tuple[int, int]) -> int | None:
        """Return the combination of lists that hold a digest (Snapshot sections)."""
        keys = self._tables["keys"]
        for slot in _probe(digest[0], len(keys)):
            if not keys[slot, 0] or (keys[slot, 0], keys[slot, 1]) == digest:
                return self._tables["combo"][slot] if keys[slot, 0] else None
        return None

    def _holders(self, labels: list[bytes]) -> dict[int, int]:
        """Return the action of each list that holds a name, by its bit: a longer suffix replaces a shorter one."""
        held: dict[int, int] = {}
        for depth, digest in enumerate(digests(labels, self.key), 1):
            if self._tables["depths"][depth >> 6] >> (depth & 63) & 1:
                held |= self._held_by(digest, whole=depth == len(labels))
        return self._without_excepted(held)

    def _client_holders(self, address: int) -> dict[int, int]:
        """Return the action of each list that holds a client's address: a longer prefix replaces a shorter one (Prefixes)."""
        held: dict[int, int] = {}
        lengths = sum(word << 64 * place for place, word in enumerate(self._tables["watched"][4:7]))
        for length in _bits(lengths):
            if length >= 96 or address >> 32 != MAPPED:
                *_, digest = digests(prefix_labels(address, length, CLIENT), self.key)
                held |= self._held_by(digest, whole=True)
        return self._without_excepted(held)

    def _held_by(self, digest: tuple[int, int], *, whole: bool) -> dict[int, int]:
        """Return the actions of the lists that hold a digest, as `whole` or for what is below it (Snapshot sections)."""
        if (combo := self._find(digest)) is None:
            return {}
        exact, below = (self._tables["holders"][combo, column] for column in (0, 1))
        skipped, mask = (0, exact) if whole else (exact.bit_count(), below)
        places = enumerate(_bits(mask), self._tables["offsets"][combo] + skipped)
        return {order: self._tables["choices"][place] for place, order in places}

    def _without_excepted(self, held: dict[int, int]) -> dict[int, int]:
        return {order: action for order, action in held.items() if self._kind(action) != Kind.EXCEPT}

    def _kind(self, action: int) -> Kind:
        return Kind(self._tables["actions"][action, 0])

    def _take(self, section: str, spans: str, row: int, column: int = 0) -> bytes:
        offset, length = (self._tables[spans][row, column + part] for part in (0, 1))
        require(offset + length <= len(self._tables[section]), TablesDamagedError, section, offset, length)
        return bytes(self._tables[section][offset : offset + length])

    def _span(self, row: int) -> str:
        return self._take("text", "spans", row).decode()

    def _lets_out(self, labels: list[bytes]) -> bool:
        """Tell whether a name lies at or under one that the walled garden lets out (Snapshot sections)."""
        outs = (split_name(self._take("rdata", "passes", row, 1)) for row in range(len(self._tables["passes"])))
        return any(len(out) <= len(labels) and labels[len(labels) - len(out) :] == out for out in outs)

    def verdict(self, client: str, _client_port: int | None, qname: bytes, qtype: int, *, tcp: bool = False, now: int = 0) -> Verdict:
        """Return the verdict on a query (The verdict); no table knows of ports; `now` is monotonic, in ns."""
        source, labels = ipaddress.ip_address(client), split_name(qname)
        address = int(source) | (MAPPED << 32 if source.version == 4 else 0)
        self._follow()
        verdict = self._decide(address, labels, qtype, tcp, now or time.monotonic_ns())
        if verdict.action == Kind.CHASE and verdict.records and verdict.records[0][2].startswith(b"\1*"):
            verdict = verdict._replace(records=((*verdict.records[0][:2], qname[:-1] + verdict.records[0][2][2:]),))
        return verdict._replace(totals=(2 * tcp + (address >> 32 != MAPPED), verdict.step, *verdict.totals))

    @damage()
    def _decide(self, address: int, labels: list[bytes], qtype: int, tcp: bool, now: int) -> Verdict:
        row, lists, rate, burst, profile, measure, flags, limiter = find_customer(self._customers, address)
        if not flags & ACTIVE:
            return Verdict(Step.SOURCE, Kind.REFUSED, rcode=REFUSED, ede=EDE_PROHIBITED)
        tables, clause = self._tables, measure - 1 if measure else None
        if flags & SILENCED:
            return Verdict(Step.SILENCED, Kind.DROP, clause=clause)
        if rate and row < len(self._full) and self._is_over(row, rate, burst, now):
            clause = limiter - 1 if limiter else tables["budgets"][profile]
            base = Verdict(Step.BUDGET, Kind.DROP, clause=None if clause == NONE16 else clause)
            short = base._replace(rcode=NOERROR, truncated=True, totals=(TOTAL_TRUNCATED,))
            return short if flags & TRUNCATE and not tcp else base
        if flags & WALLED_GARDEN and not self._lets_out(labels):
            text = "" if clause is None else self._span(tables["grounds"][clause])
            base = Verdict(Step.GARDEN, Kind.DEFAULT, soa_ttl=TTL_GARDEN, ede=EDE_BLOCKED, text=text, clause=clause)
            return self._act(base, tables["garden"][0], qtype, tcp)
        held = self._holders(labels) | self._client_holders(address) if profile < len(tables["mandatory"]) else {}
        mandatory = tables["mandatory"][profile] if held else 0
        asked = ((Step.MANDATORY, lists & mandatory), (Step.ENTITLED, lists & ~mandatory))
        for step, order in ((step, order) for step, mask in asked for order in _bits(mask) if order in held):
            if (clause := tables["rules"][profile, order]) == NONE16:
                break
            ede, text = tables["ede"][profile, order], self._span(tables["notes"][profile, order])
            base = Verdict(step, Kind.DEFAULT, soa_ttl=TTL_LIST, ede=ede, text=text, order=order, clause=clause)
            default = self._kind(held[order]) == Kind.DEFAULT
            return self._act(base, tables["defaults"][profile, order] if default else held[order], qtype, tcp)
        return Verdict(Step.LET_THROUGH, Kind.PASSTHRU, forward=True)

    def _act(self, base: Verdict, action: int, qtype: int, tcp: bool) -> Verdict:
        """Fill in the answer of an action (The verdict, its second paragraph)."""
        kind = self._kind(action)
        full, bare = base._replace(action=kind), base._replace(action=kind, soa_ttl=None, ede=None, text="")
        if kind in (Kind.NXDOMAIN, Kind.NODATA, Kind.REFUSED):
            rcode = {Kind.NXDOMAIN: NXDOMAIN, Kind.NODATA: NOERROR, Kind.REFUSED: REFUSED}[kind]
            return full._replace(rcode=rcode, soa_ttl=None if kind == Kind.REFUSED else base.soa_ttl)
        if kind in (Kind.TCP_ONLY, Kind.CHASE) and not tcp:
            return bare._replace(rcode=NOERROR, truncated=True)
        if kind in (Kind.SINKHOLE, Kind.LOCAL_DATA, Kind.CHASE):
            cells, (first, count) = self._tables["records"], (self._tables["actions"][action, part] for part in (1, 2))
            rows = [row for row in range(first, first + count) if qtype in (ANY, cells[row, 0]) or kind == Kind.CHASE]
            records = tuple((cells[row, 0], cells[row, 1], self._take("rdata", "records", row, 2)) for row in rows)
            return full._replace(rcode=NOERROR, records=records, soa_ttl=None if records else base.soa_ttl)
        if kind in (Kind.PASSTHRU, Kind.TCP_ONLY):
            return Verdict(Step.LET_THROUGH, kind, forward=True, totals=(TOTAL_PASSTHRU,) * (kind == Kind.PASSTHRU))
        require(kind == Kind.DROP, TablesDamagedError, action, kind)
        return bare
