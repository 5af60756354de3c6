"""What a format module yields: names in wire form, row by row, and the tally of what it left out.

Rows live in arrays that grow, since compiled scanners write them; a Python object per name would
take a million names past a second. The tally of a sealed list never sees a line's text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sekisho.model.errors import Fault, FeedError
from sekisho.model.lists import Action, ActionKind

FAULTS = 100
"""Faults kept of each kind (skipped, refused, unkept); all are counted."""

SHOWN = 80
"""Characters of a line that a fault shows."""

KINDS = 64
"""Kinds of what is not kept that are told apart; a feed can name more."""

MOST = 1 << 24
"""Rows of one list, each of them some 130 octets while the list is compiled."""

MOST_OCTETS = 1 << 30
"""Octets of the names of one list: a zone's records may name their origin in one letter."""

# Action numbers of rows. The common ones are fixed, so that compiled code can write them.
DEFAULT, NXDOMAIN, NODATA, PASSTHRU, DROP, TCP_ONLY, EXCEPT = range(7)
FIXED: tuple[Action, ...] = (
    Action(ActionKind.NXDOMAIN),
    Action(ActionKind.NODATA),
    Action(ActionKind.PASSTHRU),
    Action(ActionKind.DROP),
    Action(ActionKind.TCP_ONLY),
    Action(ActionKind.EXCEPT),
)

NAME_ROOM = 256
"""Octets of room for a name in its shortest form."""


class Rows:
    """Raw rows of a list, in the order of the feed.

    blob     uint8          wire names one after another, `used` bytes of it
    offsets  int64          where the name of each row starts
    lines    int64          line of the feed, from 1
    triggers uint8          `Trigger` bits
    actions  uint32         DEFAULT … EXCEPT, else 7 + index into `extra`
    """

    __slots__ = ("_seen", "actions", "blob", "count", "extra", "lines", "offsets", "triggers", "used")

    def __init__(self, names: int = 64, octets: int = 4096) -> None:
        self.count = 0
        self.used = 0
        self.blob: NDArray[np.uint8] = np.empty(octets + NAME_ROOM, np.uint8)
        self.offsets: NDArray[np.int64] = np.empty(names, np.int64)
        self.lines: NDArray[np.int64] = np.empty(names, np.int64)
        self.triggers: NDArray[np.uint8] = np.empty(names, np.uint8)
        self.actions: NDArray[np.uint32] = np.empty(names, np.uint32)
        self.extra: list[Action] = []
        self._seen: dict[Action, int] = {}

    def add(self, wire: bytes, line: int, triggers: int, action: int = DEFAULT) -> None:
        """Append one name."""
        if self.count == len(self.offsets) or self.used + len(wire) > len(self.blob):
            self.grow()
        self.blob[self.used : self.used + len(wire)] = np.frombuffer(wire, np.uint8)
        self.offsets[self.count] = self.used
        self.lines[self.count] = line
        self.triggers[self.count] = triggers
        self.actions[self.count] = action
        self.used += len(wire)
        self.count += 1

    def action(self, action: Action) -> int:
        """The number of an action."""
        if not action.records and action in FIXED:
            return FIXED.index(action) + 1
        number = self._seen.get(action)
        if number is None:
            number = self._seen[action] = len(self.extra) + EXCEPT + 1
            self.extra.append(action)
        return number

    def grow(self) -> None:
        """Double the room. The blobs left behind are wiped: they may be a sealed list's. Raises FeedError at the bounds."""
        rows, octets = min(len(self.offsets) * 2 + 64, MOST), min(len(self.blob) * 2 + NAME_ROOM, MOST_OCTETS)
        if rows == len(self.offsets) and octets == len(self.blob):
            raise FeedError(f"it has more than {MOST} entries, or names of more than {MOST_OCTETS} octets; divide it into several lists")
        for name in ("offsets", "lines", "triggers", "actions"):
            # What is behind the rows stays untouched, and so takes no memory.
            old = getattr(self, name)
            new = np.empty(rows, old.dtype)
            new[: self.count] = old[: self.count]
            setattr(self, name, new)
        wider = np.empty(octets, np.uint8)
        wider[: self.used] = self.blob[: self.used]
        self.blob.fill(0)
        self.blob = wider

    def name(self, row: int) -> bytes:
        """The wire name of a row."""
        start = end = int(self.offsets[row])
        while self.blob[end]:
            end += int(self.blob[end]) + 1
        return self.blob[start : end + 1].tobytes()

    def wipe(self) -> None:
        """Overwrite the names, so that a core file of ours has none of a sealed list's."""
        self.blob.fill(0)
        self.extra.clear()
        self._seen.clear()


@dataclass(slots=True)
class Tally:
    """Counts what a feed's lines came to, and keeps the first faults of each kind."""

    file: str
    sealed: bool
    skipped: int = 0
    refused: int = 0
    unkept: Counter[str] = field(default_factory=Counter)
    _faults: dict[str, list[Fault]] = field(default_factory=dict)

    def skip(self, line: int, reason: str, text: str = "") -> None:
        """A line that is no entry: `text` is the line, shown unless the list is sealed."""
        self.skipped += 1
        self._note("skipped", line, reason, text)

    def refuse(self, line: int, reason: str, text: str = "") -> None:
        """An entry a guard refuses."""
        self.refused += 1
        self._note("refused", line, reason, text)

    def leave(self, line: int, kind: str, text: str = "") -> None:
        """An entry whose meaning cannot be kept; `kind` names the meaning, never the entry."""
        if len(self.unkept) >= KINDS and kind not in self.unkept:
            kind = "of another kind"
        self.unkept[kind] += 1
        self._note("not kept", line, kind, text)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """In the order of their lines."""
        return tuple(sorted(fault for kind in self._faults.values() for fault in kind))

    def _note(self, kind: str, line: int, reason: str, text: str) -> None:
        kept = self._faults.setdefault(kind, [])
        if len(kept) < FAULTS:
            shown = "" if self.sealed or not text else f" ({_printable(text)})"
            kept.append(Fault(self.file, line, f"{kind}: {reason}{shown}"))


def _printable(text: str) -> str:
    """A line as it may stand in a log: one line, no control characters, bounded."""
    text = text.strip()
    shown = text[:SHOWN] + ("…" if len(text) > SHOWN else "")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown)
