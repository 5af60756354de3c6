"""Faults of one file as they are found: the first ones kept, the others counted, since a file of a million lines may be wrong in each."""

from __future__ import annotations

from sekisho.model.errors import Fault

MAX_FAULTS = 1000
"""Faults of one file that are shown; more are counted."""


class Faults:
    """Faults of one file as they are found: the first ones kept, the others counted."""

    def __init__(self, file: str, limit: int = MAX_FAULTS) -> None:
        self.file = file
        self._kept: list[Fault] = []
        self._limit = limit
        self._more = 0
        self._more_line = 0

    def __len__(self) -> int:
        return len(self._kept) + self._more

    def add(self, line: int, message: str, path: str = "") -> None:
        if len(self._kept) < self._limit:
            self._kept.append(Fault(self.file, line, message, path))
        else:
            self.count(line)

    def count(self, line: int) -> None:
        """One more fault, not shown."""
        self._more += 1
        self._more_line = max(line, self._more_line)

    def all(self) -> list[Fault]:
        """The kept faults, and one that says how many more there are."""
        if not self._more:
            return list(self._kept)
        line = max(self._more_line, max((fault.line for fault in self._kept), default=0))
        return [
            *self._kept,
            Fault(self.file, line, f"and {self._more} more faults in this file that are not shown; mend these and check again"),
        ]
