"""Format `domains`: one name a line.

`#`, `;` and `!` start comment lines; after a name, white space and `#` or `;` start a comment. A
trailing dot is allowed. `*.name` holds what is below the name and not the name itself, and only
in a list of scope `subtree`: in one of scope `exact` it would widen the list, so it is skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sekisho.lists import idn
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import cursor_at, drive, octets, odd_text, scan_domains, start_of_text
from sekisho.model.lists import Scope, Trigger

WILD_EXACT = "`*.` in a list of scope exact; name what it blocks, or give the list scope subtree"


_TOGETHER, _CHARACTERS = 1 << 16, 1 << 20
"""Values that are read together, and characters of them: a pass of the scanner is worth more than one name."""


def read(data: NDArray[np.uint8], scope: Scope, rows: Rows, tally: Tally) -> None:
    """Read a feed into `rows`."""
    plain, wild = triggers_of(scope)
    cursor = cursor_at(start_of_text(data))
    for line, start, end in drive(scan_domains, data, cursor, rows, plain, wild, True):
        text = ""
        try:
            text = odd_text(data, start, end)
            name = _uncommented(text)
            if name:
                add_name(name, line, scope, rows)
        except ValueError as error:
            tally.skip(line, str(error), text)


@dataclass(slots=True)
class Values:
    """Names that another format finds one by one; they are read many at a time, and the last at `close`."""

    scope: Scope
    rows: Rows
    tally: Tally
    _values: list[str] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)
    _characters: int = 0

    def add(self, value: str, number: int) -> None:
        """A name, and the number of its line."""
        self._values.append(value)
        self._numbers.append(number)
        self._characters += len(value)
        if len(self._values) >= _TOGETHER or self._characters >= _CHARACTERS:
            self.close()

    def close(self) -> None:
        """Read what is there."""
        _read_values(self._values, self._numbers, self.scope, self.rows, self.tally)
        self._values.clear()
        self._numbers.clear()
        self._characters = 0


def _read_values(values: Sequence[str], numbers: Sequence[int], scope: Scope, rows: Rows, tally: Tally) -> None:
    plain, wild = triggers_of(scope)
    joined = "\n".join(value.replace("\n", "\0").strip() or "." for value in values).encode("utf-8", "replace")
    data = octets(joined)
    before = rows.count
    for line, start, end in drive(scan_domains, data, cursor_at(), rows, plain, wild, False):
        text = ""
        try:
            text = odd_text(data, start, end)
            add_name(text.strip(), line, scope, rows)
        except ValueError as error:
            tally.skip(numbers[line - 1], str(error), text)
    if rows.count > before:
        rows.lines[before : rows.count] = np.asarray(numbers, np.int64)[rows.lines[before : rows.count] - 1]


def add_name(text: str, line: int, scope: Scope, rows: Rows) -> None:
    """Add one name, or `*.` and a name. Raises ValueError, without the text, if it is none."""
    plain, wild = triggers_of(scope)
    if text.startswith("*."):
        if not wild:
            raise ValueError(WILD_EXACT)
        rows.add(idn.to_wire(text[2:]), line, wild)
    else:
        rows.add(idn.to_wire(text), line, plain)


def triggers_of(scope: Scope) -> tuple[int, int]:
    """Triggers of `name` and of `*.name` in a list of this scope; 0: not allowed."""
    return int(scope.triggers), int(Trigger.BELOW) if scope is Scope.SUBTREE else 0


def _uncommented(text: str) -> str:
    """What stands before white space and a comment; empty for a line that is a comment."""
    words = text.split()
    if not words or words[0][0] in "#;!":
        return ""
    if len(words) > 1 and words[1][0] in "#;":
        return words[0]
    return text.strip()
