"""Who holds which address now: whole prefixes, and parts of shared IPv4 addresses. Rows are those of `columns`."""

from __future__ import annotations

import bisect

from sekisho.model.sessions import Ports
from sekisho.sessions.changes import WHOLE


class Holders:
    """An address has one holder, or several with ports that do not overlap."""

    def __init__(self) -> None:
        self.whole: dict[int, int] = {}
        self.parts: dict[int, dict[int, tuple[Ports, ...]]] = {}
        self.sharing = 0
        """Grows whenever somebody has other ports than before."""
        self.shared: list[int] = []
        """The addresses of `parts`, in order."""

    def rivals(self, code: int, ports: Ports, row: int) -> list[int]:
        """Other rows that hold what `row` is to hold."""
        found = []
        other = self.whole.get(code)
        if other is not None and other != row:
            found.append(other)
        parts = self.parts.get(code)
        if parts:
            found += [
                one for one, theirs in parts.items() if one != row and (ports is WHOLE or any(each.overlaps(ports) for each in theirs))
            ]
        return found

    def take(self, code: int, ports: Ports, row: int) -> bool:
        """Whether what the address is to others changed with it: whose it is, or that it is shared now."""
        if ports is WHOLE:
            self.whole[code] = row
            return True
        self.sharing += 1
        parts = self.parts.get(code)
        if parts is not None:
            parts[row] = (*parts.get(row, ()), ports)
            return False
        self.parts[code] = {row: (ports,)}
        bisect.insort(self.shared, code)
        return True

    def give(self, code: int, row: int, ports: Ports) -> bool:
        """Let go; whether it was held whole."""
        if ports is WHOLE and self.whole.get(code) == row:
            del self.whole[code]
            return True
        parts = self.parts.get(code)
        if parts is not None:
            left = tuple(one for one in parts.pop(row, ()) if one != ports)
            if left:
                parts[row] = left
            self.sharing += 1
            if not parts:
                del self.parts[code]
                del self.shared[bisect.bisect_left(self.shared, code)]
        return False

    def shared_between(self, first: int, last: int) -> list[int]:
        """The shared addresses from one code to another, both included."""
        return self.shared[bisect.bisect_left(self.shared, first) : bisect.bisect_right(self.shared, last)]
