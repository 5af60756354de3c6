"""What a person reads: tables, times, durations, and no control character from anywhere.

Text from the daemon may have come from a feed or a customer file: what would move the cursor,
colour the screen or turn the line around is shown as an escape.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from sekisho.drivers.localtime import spoken

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PIECES = re.compile(r"[\u2e80-\uffef](?:[\u3001\u3002\uff09\u300d\u300f]+)?|[^\s\u2e80-\uffef]+ *| +")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def plain(value: object) -> str:
    """Text of one line that a terminal shows and does not obey."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(character) if unicodedata.category(character) in _ESCAPED else character for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """Columns a terminal gives the text: two for each wide character (UAX #11)."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fold(text: str, columns: int, *, first: str = "", more: str = "") -> list[str]:
    """Lines of at most `columns`: broken at spaces, and between Japanese characters, which have none."""
    lines, line, empty = [], first, True
    for piece in _PIECES.findall(plain(text)):
        if not empty and width(line) + width(piece.rstrip()) > columns:
            lines.append(line.rstrip())
            line, empty = more, True
        if not (empty and piece.isspace()):
            line, empty = line + piece, False
    return [*lines, line.rstrip()]


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()) -> list[str]:
    """Lines of a table with aligned columns; `right` names the columns of numbers."""
    cells = [list(head), *([plain("-" if cell is None or cell == "" else cell) for cell in row] for row in rows)]
    widths = [max(width(row[index]) for row in cells) for index in range(len(head))]
    lines = []
    for row in cells:
        parts = []
        for index, cell in enumerate(row):
            pad = " " * (widths[index] - width(cell))
            parts.append(pad + cell if index in right else cell + pad)
        lines.append("  ".join(parts).rstrip())
    return lines


def moment(seconds: object) -> str:
    """UNIX seconds as local time with its offset: `2026-04-01 09:30:00+09:00`."""
    if not isinstance(seconds, int | float):
        return "-"
    return spoken(seconds)


def duration(seconds: object) -> str:
    """Seconds as the two largest units: `2h 5m`."""
    if not isinstance(seconds, int | float):
        return "-"
    rest, parts = max(0, int(seconds)), []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def nobody(customer: str) -> str:
    """Said where nothing is refused: what is on record of a customer who has gone is still shown."""
    return f"there is no customer {plain(customer)} now; `sekisho customers show` lists those there are"
