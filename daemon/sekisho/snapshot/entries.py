"""A compiled list: digests, triggers and actions in arrays, names only where they may be kept.

What `lists` produces and `build` merges. A sealed list has no names: its digests are all there is,
in memory and on disk.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sekisho.model.lists import Action, ActionKind, LocalRecord
from sekisho.snapshot.sections import Array, Kind, pack, unpack

VERSION = 1


@dataclass(frozen=True, slots=True)
class CompiledList:
    """One list, compiled. Rows are sorted by digest and no digest stands twice.

    digests  uint64 (n, 2)   keyed digest of the name, or of the key of a prefix (`model.addresses`)
    triggers uint8  (n)      `Trigger` bits
    exact    uint32 (n)      action of the EXACT trigger: 0 the list's own, else index into `actions` + 1
    below    uint32 (n)      action of the BELOW trigger, likewise
    depths   uint8  (n)      labels of the name; of a prefix its length
    names    uint8  (bytes)  canonical wire names one after another; empty for a sealed list
    offsets  int64  (n)      where the name of each row starts; empty for a sealed list
    """

    digests: NDArray[np.uint64]
    triggers: NDArray[np.uint8]
    exact: NDArray[np.uint32]
    below: NDArray[np.uint32]
    depths: NDArray[np.uint8]
    actions: tuple[Action, ...] = ()
    names: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return int(self.digests.shape[0])

    def find(self, first: int, second: int) -> int | None:
        """The row of a digest, or None."""
        column = self.digests[:, 0]
        row = int(np.searchsorted(column, np.uint64(first)))
        while row < len(self) and int(column[row]) == first:
            if int(self.digests[row, 1]) == second:
                return row
            row += 1
        return None

    def name(self, row: int) -> bytes:
        """The canonical wire name of a row; empty for a sealed list."""
        if not len(self.offsets):
            return b""
        start = end = int(self.offsets[row])
        while self.names[end]:
            end += int(self.names[end]) + 1
        return bytes(self.names[start : end + 1])


def encode(compiled: CompiledList, about: dict[str, object]) -> bytearray:
    """The file of a compiled list; `about` is any JSON the owner keeps with it (no names of a sealed list)."""
    actions = [[int(a.kind), [[r.rtype, r.ttl, r.rdata.hex()] for r in a.records]] for a in compiled.actions]
    sections: dict[str, Array | bytes] = {
        "digests": compiled.digests,
        "triggers": compiled.triggers,
        "exact": compiled.exact,
        "below": compiled.below,
        "depths": compiled.depths,
        "names": compiled.names,
        "offsets": compiled.offsets,
        "about": json.dumps({"about": about, "actions": actions}).encode(),
    }
    return pack(Kind.LIST, VERSION, 0, sections)


def decode(buffer: bytes | bytearray) -> tuple[CompiledList, dict[str, object]]:
    """Read back what `encode` wrote. Raises TableError if it is damaged or of another version."""
    _, arrays = unpack(buffer, Kind.LIST, VERSION)
    document = json.loads(bytes(arrays["about"]))
    actions = tuple(
        Action(ActionKind(kind), tuple(LocalRecord(t, ttl, bytes.fromhex(data)) for t, ttl, data in records))
        for kind, records in document["actions"]
    )
    columns = {name: arrays[name] for name in ("digests", "triggers", "exact", "below", "depths", "names", "offsets")}
    return CompiledList(actions=actions, **columns), document["about"]
