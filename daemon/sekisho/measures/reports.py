"""Reports of addresses: what an outside body observed, where and when (`gunma/38`, the NOTICE of NICT).

A report is CSV with a header, or JSON: a list of objects, an object that holds one, or one object a line. Three
columns count: the address, the time, and, where an address is shared, the port. Every line that cannot be
read is told with its number; the others are good all the same. A time without an offset is Japan's.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sekisho.measures.words import JST

MAX_LINES = 1_000_000
AHEAD = 300.0
"""Seconds a report's clock may be ahead of ours."""
_COLUMNS = {
    "address": ("address", "ip", "ip_address", "ipaddress", "ipv4", "ipv6", "src_ip", "dst_ip", "ipアドレス"),
    "at": ("timestamp", "time", "at", "date", "datetime", "detected_at", "observed_at", "タイムスタンプ", "日時", "観測日時"),
    "port": ("port", "src_port", "source_port", "ポート", "ポート番号"),
}
_NAMES = {alias: column for column, aliases in _COLUMNS.items() for alias in aliases}


@dataclass(frozen=True, slots=True)
class Sighting:
    """One good line: an address of the customer's side (as text in its usual form), a time (UNIX seconds) and perhaps a port."""

    line: int
    address: str
    at: float
    port: int | None

    @property
    def call(self) -> str:
        """The id of the attention call it leads to: the same for the same address, port and time."""
        seen = f"{self.address}|{self.port}|{round(self.at * 1000)}"
        return f"a-{hashlib.blake2b(seen.encode(), digest_size=8).hexdigest()}"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be read, and what to do about it."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """A report as it was read. `id` is a digest of the file, the same at each import."""

    id: str
    good: tuple[Sighting, ...]
    bad: tuple[BadLine, ...]


def read_report(raw: bytes, now: float) -> Report:
    """Read a report of either form."""
    identity = f"r-{hashlib.blake2b(raw, digest_size=8).hexdigest()}"
    text, broken = _decode(raw)
    good: list[Sighting] = []
    bad: list[BadLine] = list(broken)
    told = {one.line for one in broken}
    try:
        for line, row in _rows(text):
            if line in told:
                continue
            if len(good) + len(bad) >= MAX_LINES:
                bad.append(BadLine(line, f"the report is longer than {MAX_LINES} lines; divide it"))
                break
            try:
                good.append(read_row(line, row, now))
            except ValueError as error:
                bad.append(BadLine(line, str(error)))
    except _UnreadableError as error:
        bad.append(BadLine(error.line, str(error)))
    return Report(identity, tuple(good), tuple(sorted(bad, key=lambda one: one.line)))


class _UnreadableError(ValueError):
    """Nothing can be read from this line on."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _decode(raw: bytes) -> tuple[str, list[BadLine]]:
    """The text, in UTF-8 or, as Japanese offices still send it, Shift_JIS; lines that are neither are told."""
    for encoding in ("utf-8-sig", "cp932"):
        try:
            return raw.decode(encoding), []
        except UnicodeDecodeError:
            continue
    bad = []
    lines = raw.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            bad.append(BadLine(number, "the line is not UTF-8 text; save the report as UTF-8"))
    return raw.decode("utf-8", "replace").removeprefix("\ufeff"), bad


def _rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    start = text.lstrip()[:1]
    if start in {"[", "{"}:
        yield from _json_rows(text)
    else:
        yield from _csv_rows(text)


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    while True:
        before = reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise _UnreadableError(before + 1, f"broken CSV ({error}); a quote inside a quoted cell is written twice") from None
        if not any(cell.strip() for cell in row) or row[0].lstrip().startswith("#"):
            continue
        if header is None:
            header = _header(row, reader.line_num)
        elif len(row) != len(header):
            yield before + 1, {"": f"the line has {len(row)} cells, the header {len(header)}; a cell with a comma in it stands in quotes"}
        else:
            yield before + 1, dict(zip(header, row, strict=True))
    if header is None:
        raise _UnreadableError(1, "the report is empty; its first line is the header: address,timestamp,port")


def _header(row: list[str], line: int) -> list[str]:
    header = [_NAMES.get(cell.strip().lower(), "") for cell in row]
    for column in ("address", "at"):
        if header.count(column) != 1:
            what = "address" if column == "address" else "timestamp"
            state = "is missing" if column not in header else "stands twice"
            raise _UnreadableError(line, f"the column {what} {state} in the header; name one column {what}, and others differently")
    return [column or f"other {number}" for number, column in enumerate(header)]


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        document: Any = json.loads(text)
    except ValueError:
        yield from _json_lines(text)
        return
    except RecursionError:
        raise _UnreadableError(1, "the JSON is nested too deeply; a report is a list of objects") from None
    if isinstance(document, dict) and not _is_row(document):
        lists = [value for value in document.values() if isinstance(value, list)]
        document = lists[0] if len(lists) == 1 else document
    for number, one in enumerate(document if isinstance(document, list) else [document], 1):
        yield number, _named(one)


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield number, _named(json.loads(line))
        except (ValueError, RecursionError):
            yield number, {"": "the line is not JSON; a report is a list of objects, or one object a line"}


def _is_row(value: Mapping[str, Any]) -> bool:
    return any(_NAMES.get(str(key).strip().lower()) for key in value)


def _named(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        return {"": 'the entry is no JSON object; write {"address": ..., "timestamp": ...}'}
    return {column: cell for key, cell in value.items() if (column := _NAMES.get(str(key).strip().lower()))}


def read_row(line: int, row: Mapping[str, Any], now: float) -> Sighting:
    """One line by its columns `address`, `at` and `port`. Raises ValueError with a sentence that quotes no more than the cell."""
    if "" in row:
        raise ValueError(row[""])
    at = _time(row.get("at"))
    if at > now + AHEAD:
        raise ValueError("the time lies in the future; mend it, or its offset")
    return Sighting(line, _address(row.get("address")), at, _port(row.get("port")))


def _address(cell: object) -> str:
    try:
        address = ipaddress.ip_address(str(cell).strip() if isinstance(cell, str) else "")
    except ValueError:
        raise ValueError(f"{_shown(cell)} is no IP address; write 192.0.2.1 or 2001:db8::1") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            raise ValueError(f"{_shown(cell)} has a zone; write the address alone")
        return str(address.ipv4_mapped or address)
    return str(address)


def _time(cell: object) -> float:
    if isinstance(cell, int | float) and not isinstance(cell, bool) and 0 < cell < 1e11:
        return float(cell)
    text = cell.strip() if isinstance(cell, str) else ""
    if text.isascii() and text.isdecimal() and 9 <= len(text) <= 11:
        return float(text)
    try:
        moment = dt.datetime.fromisoformat(text.replace("/", "-"))
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=JST)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{_shown(cell)} is no time; write 2026-04-01T09:30:00+09:00 (without an offset it is Japan's)") from None


def _port(cell: object) -> int | None:
    if cell is None or (isinstance(cell, str) and cell.strip() in {"", "-"}):
        return None
    text = str(cell).strip() if not isinstance(cell, bool | float) else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError(f"{_shown(cell)} is no port; ports go from 0 to 65535, and an empty cell is none")
    return int(text)


def _shown(cell: object) -> str:
    text = "nothing" if cell is None else str(cell)
    return repr(text if len(text) <= 60 else text[:57] + "...")
