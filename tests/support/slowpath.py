"""The product's list readers with their compiled scanners switched off: the reference of the fast path.

Every line, or record of a transfer, is then read by the module that owns the format's meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sekisho.lists.recordscan import MALFORMED, wire_name
from sekisho.lists.rows import FIXED, Rows, Tally
from sekisho.lists.scan import DONE, ODD, line_end, octets


def all_odd(comments: bytes) -> Callable[..., int]:
    """A scanner that knows nothing but lines that are comments, whose text nobody reads."""

    def scanner(data: Any, cursor: Any, *_arguments: Any) -> int:
        while cursor[0] < len(data):
            cursor[4] = line_end(data, int(cursor[0]))
            line = data[int(cursor[0]) : int(cursor[4])].tobytes().lstrip(b" \t\r")
            if not line or line[0] not in comments:
                return ODD
            cursor[0], cursor[1] = cursor[4] + 1, cursor[1] + 1
        return DONE

    return scanner


def all_odd_records(message: Any, cursor: Any, *arguments: Any) -> int:
    """`scan_records` that only finds where a record ends."""
    if cursor[1] >= arguments[-1]:
        return DONE
    out = octets(bytes(512)).copy()
    after, _ = wire_name(message, int(cursor[0]), out, 0)
    if after < 0 or after + 10 > len(message):
        return MALFORMED
    cursor[4] = after + 10 + int.from_bytes(message[after + 8 : after + 10].tobytes(), "big")
    return MALFORMED if cursor[4] > len(message) else ODD


def outcome(rows: Rows, tally: Tally) -> Any:
    """What a feed came to, comparably."""
    actions = (None, *FIXED, *rows.extra)
    kept = [(rows.name(row), int(rows.lines[row]), int(rows.triggers[row]), actions[int(rows.actions[row])]) for row in range(rows.count)]
    return sorted(kept, key=repr), tally.skipped, tally.refused, dict(tally.unkept), tally.faults
