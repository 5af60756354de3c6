"""Who holds which address now: whole prefixes, and parts of shared IPv4 addresses. Rows are those of `columns`."""

from __future__ import annotations

from sekisho.model.sessions import Ports
from sekisho.sessions.changes import WHOLE


class Holders:
    """An address has one holder, or several with ports that do not overlap."""

    def __init__(self) -> None:
        self.whole: dict[int, int] = {}
        self.parts: dict[int, dict[int, Ports]] = {}
        self.sharing = 0
        """Grows whenever somebody has other ports than before."""

    def rivals(self, code: int, ports: Ports, row: int) -> list[int]:
        """Other rows that hold what `row` is to hold."""
        found = []
        other = self.whole.get(code)
        if other is not None and other != row:
            found.append(other)
        parts = self.parts.get(code)
        if parts:
            found += [one for one, theirs in parts.items() if one != row and (ports is WHOLE or theirs.overlaps(ports))]
        return found

    def take(self, code: int, ports: Ports, row: int) -> None:
        if ports is WHOLE:
            self.whole[code] = row
        else:
            self.parts.setdefault(code, {})[row] = ports
            self.sharing += 1

    def give(self, code: int, row: int) -> bool:
        """Let go; whether it was held whole."""
        if self.whole.get(code) == row:
            del self.whole[code]
            return True
        parts = self.parts.get(code)
        if parts is not None:
            parts.pop(row, None)
            self.sharing += 1
            if not parts:
                del self.parts[code]
        return False
