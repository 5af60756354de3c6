"""Who holds which address now: whole prefixes, and parts of shared IPv4 addresses. Rows are those of `columns`."""

from __future__ import annotations

from sekisho.model.sessions import Ports
from sekisho.sessions.changes import WHOLE


class Holders:
    """An address has one holder, or several with ports that do not overlap."""

    def __init__(self) -> None:
        self.whole: dict[int, int] = {}
        self._parts: dict[int, dict[int, Ports]] = {}

    def rivals(self, code: int, ports: Ports, row: int) -> list[int]:
        """Other rows that hold what `row` is to hold."""
        found = []
        other = self.whole.get(code)
        if other is not None and other != row:
            found.append(other)
        parts = self._parts.get(code)
        if parts:
            found += [one for one, theirs in parts.items() if one != row and (ports is WHOLE or theirs.overlaps(ports))]
        return found

    def take(self, code: int, ports: Ports, row: int) -> None:
        if ports is WHOLE:
            self.whole[code] = row
        else:
            self._parts.setdefault(code, {})[row] = ports

    def give(self, code: int, row: int) -> bool:
        """Let go; whether it was held whole."""
        if self.whole.get(code) == row:
            del self.whole[code]
            return True
        parts = self._parts.get(code)
        if parts is not None:
            parts.pop(row, None)
            if not parts:
                del self._parts[code]
        return False
