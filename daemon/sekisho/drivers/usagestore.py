"""Usage on disk: the totals and the slots of `detect.usage`, kept over restarts.

Owns the files in one folder. A slot that ended is written once and then read where it lies, so that a month of a million
customers takes little memory; of the minutes only those in memory are known. `rows` says which customer a row is, by a digest
of the id; files of other rows carry another tag and are removed. Written aside and renamed: a file is whole or not there.
Totals go back to when they were saved; slots that are younger than that are left out.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.detect.usage import COLUMNS, NOBODY, Kept, Totals, Usage
from sekisho.drivers.durable import write_file
from sekisho.model.errors import TableError

_MAGIC = b"SKUSAGE1"
_ROWS = "rows"
_HEAD = 24
_SHORT = 60
"""Slots of this many seconds are not kept on disk."""


class UsageStore:
    """The files of one daemon's usage in `folder`, which is made if it is not there."""

    def __init__(self, folder: Path) -> None:
        """Raises TableError if the folder cannot be made."""
        self._folder = folder
        self._tag = ""
        self._digests = np.zeros(0, np.uint64)
        self._named = -1
        """Rows in the file of rows; -1: it is of another tag."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        except OSError as error:
            raise TableError(f"{folder} cannot be made ({error.strerror}); make its parent writable for the daemon") from error

    def load(self, rows: Mapping[str, int], now: float) -> Usage:
        """What was saved, under the rows customers have now. What cannot be read begins anew. Takes seconds for a million customers."""
        found = self._read_rows()
        digests = digests_of(rows)
        usage = Usage(now, len(digests))
        if found is None:
            self._begin(digests)
            return usage
        self._tag, self._digests = found
        self._named = len(self._digests)
        moved = _moved(self._digests, digests)
        at = self._load_totals(usage, moved, now)
        if at is None:
            self._begin(digests)
            return Usage(now, len(digests))
        self._load_slots(usage, moved, at)
        usage.at = at
        if moved is not None:
            self._begin(digests)
            self._save_all(usage)
        usage.advance(now)
        return usage

    def save(self, totals: Totals, rows: Mapping[str, int]) -> list[tuple[int, Kept]]:
        """Write the totals, and the slots that are on disk not yet; those, with their length, as they are read from disk from now on.

        Raises TableError if the disk does not take it.
        """
        try:
            self._name_rows(digests_of(rows, self._digests))
            there = {path.name for path in self._folder.iterdir()}
            new = [one for one in totals.kept.items() if one[0][0] > _SHORT and self._file(*one[0]).name not in there]
            written = [(slot, self._write_slot(slot, kept)) for (slot, _), kept in new]
            self._write_totals(totals)
            self._remove_old(totals)
        except OSError as error:
            raise TableError(f"usage cannot be saved in {self._folder} ({error.strerror}); see that it has room") from error
        return written

    def _begin(self, digests: NDArray[np.uint64]) -> None:
        """What is saved from now on has nothing to do with what there is."""
        self._tag, self._digests, self._named = secrets.token_hex(4), digests, -1

    def _name_rows(self, digests: NDArray[np.uint64]) -> None:
        """Have the file of rows name every customer before anything is written of them."""
        if len(digests) != self._named:
            write_file(self._folder / _ROWS, _MAGIC + self._tag.encode() + digests.tobytes(), durable=True)
            self._digests, self._named = digests, len(digests)

    def _save_all(self, usage: Usage) -> None:
        """Everything under another tag, the file of rows last: until then the old files count."""
        totals = usage.totals()
        for (slot, number), kept in totals.kept.items():
            if slot > _SHORT:
                usage.ring(slot).kept[number] = self._write_slot(slot, kept)
        self._write_totals(totals)
        self._name_rows(self._digests)
        self._remove_old(totals)

    def _file(self, slot: int, number: int) -> Path:
        return self._folder / f"{self._tag}-{slot}-{number}"

    def _write_slot(self, slot: int, kept: Kept) -> Kept:
        path = self._file(slot, kept.number)
        sources = kept.sources if kept.sources is not None else np.zeros(0, np.uint8)
        head = np.array([len(kept.seconds), len(sources)], np.uint64)
        write_file(path, b"".join((_MAGIC, head.tobytes(), kept.octets.tobytes(), kept.seconds.tobytes(), sources.tobytes())))
        return _mapped(path, kept.number, with_sources=kept.sources is not None)

    def _write_totals(self, totals: Totals) -> None:
        head = np.array([totals.at, len(totals.columns["seconds"])], np.float64)
        data = b"".join((_MAGIC, head.tobytes(), *(totals.columns[name].tobytes() for name in COLUMNS)))
        write_file(self._folder / f"{self._tag}-totals", data, durable=True)

    def _remove_old(self, totals: Totals) -> None:
        wanted = {self._file(*one).name for one in totals.kept} | {_ROWS, f"{self._tag}-totals"}
        for path in list(self._folder.iterdir()):
            if path.name not in wanted and path.is_file():
                path.unlink(missing_ok=True)

    def _read_rows(self) -> tuple[str, NDArray[np.uint64]] | None:
        try:
            data = (self._folder / _ROWS).read_bytes()
        except OSError:
            return None
        if not data.startswith(_MAGIC) or len(data) < 16 or len(data) % 8:
            return None
        return data[8:16].decode("ascii", "replace"), np.frombuffer(data, np.uint64, offset=16)

    def _load_totals(self, usage: Usage, moved: NDArray[np.int64] | None, now: float) -> float | None:
        """When the totals are of; None: there are none, or they cannot be."""
        try:
            data = (self._folder / f"{self._tag}-totals").read_bytes()
        except OSError:
            return None
        if not data.startswith(_MAGIC) or len(data) < 24:
            return None
        at, count = np.frombuffer(data, np.float64, 2, 8)
        number, place = int(count), 24
        if len(data) != 24 + number * (16 + 8 + 8 + 2 + 1 + 1) or not at > 0:
            return None
        for name in COLUMNS:
            column = getattr(usage, name)
            values = np.frombuffer(data, column.dtype, number * (2 if column.ndim == 2 else 1), place)
            place += values.nbytes
            nothing = NOBODY if column is usage.source else 0
            setattr(usage, name, _under(values.reshape(2, -1) if column.ndim == 2 else values, moved, usage.rows, nothing))
        return min(float(at), now)

    def _load_slots(self, usage: Usage, moved: NDArray[np.int64] | None, at: float) -> None:
        for ring in usage.rings:
            ring.kept.clear()
            for path in self._folder.glob(f"{self._tag}-{ring.slot}-*"):
                number = path.name.rpartition("-")[2]
                if not number.isdecimal():
                    continue
                try:
                    kept = _mapped(path, int(number), with_sources=ring is usage.rings[-1])
                except (OSError, ValueError):
                    continue
                ring.kept[int(number)] = kept if moved is None else _moved_slot(kept, moved)
            current = ring.number(at)
            # What is younger than the totals is of octets they do not have.
            numbers = sorted(number for number in ring.kept if current - ring.most < number <= current)
            # From the newest back to the first gap: what lies before it does not slide.
            whole = [number for place, number in enumerate(reversed(numbers)) if number == current - place]
            ring.kept = {number: ring.kept[number] for number in reversed(whole)}
            if not ring.kept:
                octets = (usage.octets >> np.uint64(ring.shift)).astype(np.uint32)
                seconds = (usage.seconds * (1 / ring.tick)).astype(np.int64).astype(np.uint16)
                ring.kept[current] = Kept(current, octets, seconds, np.zeros(0, np.uint8) if ring is usage.rings[-1] else None)


def digests_of(rows: Mapping[str, int], known: NDArray[np.uint64] | None = None) -> NDArray[np.uint64]:
    """A digest of each customer's id, uint64 (rows); 0: a row that is nobody's. `known`: those of the first rows."""
    start = 0 if known is None else len(known)
    size = max(rows.values(), default=-1) + 1
    if known is not None and size <= start:
        return known
    digests = np.zeros(size, np.uint64)
    if known is not None:
        digests[:start] = known
    for identity, row in rows.items():
        if row >= start:
            digests[row] = int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest(), "little") or 1
    return digests


def _moved(before: NDArray[np.uint64], after: NDArray[np.uint64]) -> NDArray[np.int64] | None:
    """For each row now the row it was, or -1; None: those there were are where they were."""
    if len(after) >= len(before) and np.array_equal(after[: len(before)], before):
        return None
    order = np.argsort(before, kind="stable")
    if not len(order):
        return np.full(len(after), -1, np.int64)
    at = np.minimum(np.searchsorted(before[order], after), len(before) - 1)
    was = order[at]
    return np.where((before[was] == after) & (after != 0), was, -1)


def _under(values: NDArray[Any], moved: NDArray[np.int64] | None, rows: int, nothing: int) -> NDArray[Any]:
    """A column as it was saved, under the rows of now, at least `rows`; `nothing` is what stands in a row of nobody."""
    number = max(values.shape[-1], rows) if moved is None else len(moved)
    made = np.full((*values.shape[:-1], number), nothing, values.dtype)
    if moved is None:
        made[..., : values.shape[-1]] = values
    else:
        there = (moved >= 0) & (moved < values.shape[-1])
        made[..., there] = values[..., moved[there]]
    return made


def _mapped(path: Path, number: int, *, with_sources: bool) -> Kept:
    """A slot, read where it lies. Raises OSError or ValueError."""
    data = np.memmap(path, np.uint8, "r")
    if len(data) < _HEAD or bytes(data[:8]) != _MAGIC:
        raise ValueError(f"{path} is no slot of usage")
    rows, sources = (int(one) for one in np.frombuffer(data, np.uint64, 2, 8))
    if len(data) != _HEAD + rows * 10 + sources:
        raise ValueError(f"{path} is cut short")
    octets = np.frombuffer(data, np.uint32, 2 * rows, _HEAD).reshape(2, rows)
    seconds = np.frombuffer(data, np.uint16, rows, _HEAD + 8 * rows)
    return Kept(number, octets, seconds, np.frombuffer(data, np.uint8, sources, _HEAD + 10 * rows) if with_sources else None)


def _moved_slot(kept: Kept, moved: NDArray[np.int64]) -> Kept:
    sources = None if kept.sources is None else _under(kept.sources, moved, 0, 0)
    return Kept(kept.number, _under(kept.octets, moved, 0, 0), _under(kept.seconds, moved, 0, 0), sources)
