"""Flow records as nfdump has them: its table (`nfdump -r FILE -o csv`), and nfcapd's files by way of nfdump itself.

Owns the columns. nfcapd's own files change with its versions and compression: where nfdump is installed it is asked, and where
it is not the operator is told the command. Names and ports go no further. Sampling is multiplied by nfcapd already.
"""

from __future__ import annotations

import csv
import datetime as dt
import ipaddress
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sekisho.detect.mailvolume import PORTS
from sekisho.drivers.recordings import Reading
from sekisho.model.customers import V4_MAPPED
from sekisho.model.errors import RefusedError
from sekisho.model.usage import Source

_NAMES = {
    "end": ("te", "lastSeen"),
    "begin": ("ts", "firstSeen"),
    "length": ("td", "duration"),
    "source": ("sa", "srcAddr", "srcaddr"),
    "target": ("da", "dstAddr", "dstaddr"),
    "source_port": ("sp", "srcPort", "srcport"),
    "target_port": ("dp", "dstPort", "dstport"),
    "protocol": ("pr", "proto"),
    "flags": ("flg", "flags"),
    "octets": ("ibyt", "bytes"),
    "reverse": ("obyt", "outBytes"),
}
"""Columns by what they mean: nfdump up to 1.7.3, and later ones."""
_COMPLAINT = re.compile(r"error|short|corrupt|unable|fail|unknown", re.IGNORECASE)
"""In what nfdump says beside the table, where it could not read all."""
_WITH_PORTS = frozenset({"TCP", "6", "UDP", "17", "DCCP", "33", "SCTP", "132"})
_NEEDED = ("source", "target", "octets")


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where each column stands, by its meaning."""

    at: dict[str, int]
    most: int
    zone: dt.tzinfo | None
    """Of the times; None: of this machine."""

    def text(self, row: Sequence[str], name: str) -> str:
        place = self.at.get(name)
        return row[place].strip() if place is not None else ""

    def moment(self, row: Sequence[str]) -> float:
        """UNIX seconds of the end of a flow. Raises ValueError."""
        if "end" in self.at:
            return self._time(self.text(row, "end"))
        return self._time(self.text(row, "begin")) + float(self.text(row, "length") or 0)

    def _time(self, text: str) -> float:
        if text.replace(".", "", 1).isdecimal():
            return float(text)
        found = dt.datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=self.zone)).timestamp()


def is_table(head: bytes) -> bool:
    """Whether a file begins as nfdump's table does."""
    first = head.splitlines()[0].decode("ascii", "replace").split(",") if head.strip() else []
    return _columns(first, None) is not None


def read_table(path: Path, reading: Reading) -> None:
    """Raises RefusedError, with the line, for a row that cannot be read."""
    with path.open(encoding="utf-8", errors="replace", newline="") as lines:
        count = _read(lines, path, reading, None)
    _some(count, path)


def read_binary(path: Path, reading: Reading) -> None:
    """A file of nfcapd, by the nfdump of this machine. Raises RefusedError where there is none, or where it cannot read the file."""
    program = shutil.which("nfdump")
    if program is None:
        raise RefusedError(
            f"{path} is a file of nfcapd, which nfdump reads; install nfdump, or run `nfdump -r {path} -o csv > flows.csv` and replay that"
        )
    words = [program, "-r", str(path), "-o", "csv"]
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said, text=True, errors="replace", env=environment) as child:
            if child.stdout is not None:
                count = _read(child.stdout, path, reading, dt.UTC)
        said.seek(0)
        # It ends with 0 for a file that is cut off too, with what it could read of it.
        wrong = next((line.strip() for line in said if _COMPLAINT.search(line)), None)
    if child.returncode or wrong is not None:
        why = wrong or f"it ended with {child.returncode}"
        raise RefusedError(f"nfdump cannot read {path} whole ({why}); copy the file anew, or try a newer nfdump")
    _some(count, path)


def _some(count: int, path: Path) -> None:
    if not count:
        raise RefusedError(f"{path} has no flows; name a file of a time in which some were recorded")


def _columns(head: Sequence[str], zone: dt.tzinfo | None) -> _Columns | None:
    named = {name.strip(): place for place, name in enumerate(head)}
    at = {meaning: named[name] for meaning, names in _NAMES.items() for name in names if name in named}
    if not all(name in at for name in _NEEDED) or not ("end" in at or "begin" in at):
        return None
    return _Columns(at, max(at.values()), zone)


def _read(lines: Iterable[str], path: Path, reading: Reading, zone: dt.tzinfo | None) -> int:
    """How many flows were read."""
    rows, count = csv.reader(lines), 0
    columns = _columns(next(rows, []), zone)
    if columns is None:
        raise RefusedError(f"nfdump told no flows of {path}; record anew, or try a newer nfdump")
    for number, row in enumerate(rows, 2):
        if not row or row[0] == "Summary":
            break
        if len(row) == 1:
            continue  # a remark of nfdump's
        try:
            at, source, target, octets, reverse = _figures(columns, row)
        except (ValueError, IndexError):
            wrong = "it ends there or is cut off" if len(row) <= columns.most else "a figure, time or address is none"
            raise RefusedError(f"{path}, line {number} is no flow of nfdump's ({wrong}); write the table anew with `-o csv`") from None
        reading.saw(at, path)
        _add(reading, columns, row, at, source, target, octets, reverse)
        count += 1
    return count


def _figures(columns: _Columns, row: Sequence[str]) -> tuple[float, int, int, int, int]:
    """Time, source, target and octets both ways. Raises ValueError, IndexError."""
    row[columns.most]
    source, target = _address(columns.text(row, "source")), _address(columns.text(row, "target"))
    return columns.moment(row), source, target, int(columns.text(row, "octets")), int(columns.text(row, "reverse") or 0)


def _add(reading: Reading, columns: _Columns, row: Sequence[str], at: float, source: int, target: int, octets: int, reverse: int) -> None:
    owners, recorded = reading.owners, reading.recorded
    # Of a protocol without ports nfdump tells its type there, as of ICMP.
    ports = columns.text(row, "protocol").upper() in _WITH_PORTS
    from_row = owners.row(source, at, _port(columns.text(row, "source_port")) if ports else 0)
    to_row = owners.row(target, at, _port(columns.text(row, "target_port")) if ports else 0)
    if not from_row and not to_row:
        recorded.nobody += 1
    if from_row:
        opened = int(_opens(columns, row))
        mail = _port(columns.text(row, "target_port")) in PORTS
        recorded.carry(Source.FLOWS, at, from_row, reverse, octets, opened, mail=mail, bucket=owners.bucket(target) if opened else 0)
    if to_row:
        recorded.carry(Source.FLOWS, at, to_row, octets, reverse)


def _opens(columns: _Columns, row: Sequence[str]) -> bool:
    """Whether a flow is of a TCP connection its source opened; as `flows.records` tells it."""
    flags = columns.text(row, "flags").upper()
    if columns.text(row, "protocol").upper() not in {"TCP", "6"} or (flags.strip(".") and "S" not in flags):
        return False
    if "S" in flags and "A" not in flags:
        return True
    port = _port(columns.text(row, "target_port"))
    return 0 < port < _port(columns.text(row, "source_port"))


def _port(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _address(text: str) -> int:
    address = ipaddress.ip_address(text)
    return int(address) | V4_MAPPED if address.version == 4 else int(address)
