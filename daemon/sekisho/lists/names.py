"""The names of a compiled list, kept one after another in the order they came.

Moving a million names into the order of their digests takes longer than all the rest of
compiling, so rows point at them instead. A name that no row points at is not kept.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sekisho.lists.rows import Rows
from sekisho.snapshot import compiling
from sekisho.snapshot.entries import CompiledList


def names_of(rows: Rows, merged: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The names of the merged rows, and where the name of each starts."""
    if len(merged) == rows.count:
        return rows.blob[: rows.used].copy(), rows.offsets[merged]
    keep = np.zeros(rows.count, np.bool_)
    keep[merged] = True
    names, offsets = np.empty(rows.used, np.uint8), np.empty(rows.count, np.int64)
    used = _compact(rows.blob, rows.offsets[: rows.count], keep, names, offsets)
    return names[:used].copy(), offsets[merged]


def compacted(compiled: CompiledList) -> CompiledList:
    """The same list without the names that no row points at any more."""
    if not len(compiled.offsets):
        return replace(compiled, names=np.empty(0, np.uint8))
    order = np.argsort(compiled.offsets)
    names, starts = np.empty(len(compiled.names), np.uint8), np.empty(len(order), np.int64)
    used = _compact(compiled.names.copy(), compiled.offsets[order], np.ones(len(order), np.bool_), names, starts)
    offsets = np.empty(len(order), np.int64)
    offsets[order] = starts
    return replace(compiled, names=names[:used].copy(), offsets=offsets)


@compiling.compiled
def _compact(blob, starts, keep, names, offsets):  # type: ignore[no-untyped-def]
    """Copy the kept names to `names`, filling `offsets` for their rows; gives the bytes used."""
    used = 0
    for row in range(starts.shape[0]):
        if keep[row]:
            offsets[row] = used
            start = starts[row]
            end = start
            while blob[end] != 0:
                end += int(blob[end]) + 1
            for position in range(start, end + 1):
                names[used] = blob[position]
                used += 1
    return used
