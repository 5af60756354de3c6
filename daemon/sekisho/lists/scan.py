"""The compiled scanner: bytes of a feed to wire names at memory speed.

Knows the common shape of each text format's lines and nothing else. A line of any other shape is
handed back as *odd* and read by the format's own module, which owns the format's meaning; so the
scanner may give up on a line but never decides that one is wrong.

Scanners write into the arrays of `Rows` and keep their place in `cursor` (int64):

    0 position    of the next line in `data`
    1 line        its number, from 1
    2 count       rows written
    3 used        bytes of `blob` written
    4 end         of the odd line, its line feed left out
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.lists.rows import MOST, MOST_OCTETS, NAME_ROOM, Rows
from sekisho.snapshot.compiling import compiled

POSITION, LINE, COUNT, USED, END = range(5)
DONE, ODD, FULL = range(3)

MAX_LINE = 4096
"""Octets of a line of text; a longer one is no entry of any format and is skipped unread."""

_LOOK = 1 << 16
"""Octets in which line feeds are looked for at a time."""

_LF, _CR, _SPACE, _TAB, _DOT, _STAR, _HYPHEN, _UNDERSCORE = 10, 13, 32, 9, 46, 42, 45, 95
_HASH, _SEMICOLON, _BANG, _BAR, _CARET, _BRACKET = 35, 59, 33, 124, 94, 91


def _letters() -> NDArray[np.uint8]:
    """Octet to the octet as it stands in a canonical name, or 0 if no plain name has it."""
    table = np.zeros(256, np.uint8)
    for octet in b"abcdefghijklmnopqrstuvwxyz0123456789-_":
        table[octet] = octet
    for octet in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        table[octet] = octet + 32
    return table


_LETTERS = _letters()


@compiled
def plain_name(data, position, stop, blob, used):  # type: ignore[no-untyped-def]
    """Write the name at `position` to `blob` at `used` in wire form.

    Gives the position after it and the bytes used then, or -1 if it is no plain name: an empty or
    too long label, too long as a whole, or a last label of digits alone (an address).
    """
    start = used
    at = used + 1
    digits = True
    while position < stop:
        octet = data[position]
        letter = _LETTERS[octet]
        if letter != 0:
            if letter > 57 or letter < 48:
                digits = False
            blob[at] = letter
            at += 1
            if at - used > 254:
                return -1, used
        elif octet == _DOT:
            length = at - start - 1
            if length == 0 or length > 63:
                return -1, used
            blob[start] = length
            if position + 1 == stop or (_LETTERS[data[position + 1]] == 0 and data[position + 1] != _DOT):
                position += 1
                start = at
                break
            start = at
            at += 1
            digits = True
        else:
            break
        position += 1
    if start != at:
        length = at - start - 1
        if length == 0 or length > 63:
            return -1, used
        blob[start] = length
    if digits:
        return -1, used
    blob[at] = 0
    return position, at + 1


@compiled
def line_end(data, position):  # type: ignore[no-untyped-def]
    """Where the line feed of the line at `position` stands, or the end of the data."""
    while position < data.shape[0] and data[position] != _LF:
        position += 1
    return position


@compiled
def blanks(data, position):  # type: ignore[no-untyped-def]
    """The next position that is no space, tab or carriage return."""
    while position < data.shape[0] and (data[position] == _SPACE or data[position] == _TAB or data[position] == _CR):
        position += 1
    return position


@compiled
def scan_domains(data, cursor, blob, offsets, lines, triggers, actions, plain, wild, comments):  # type: ignore[no-untyped-def]
    """One name a line. `plain` and `wild`: triggers of `name` and `*.name` (0: odd)."""
    position, line, count, used = cursor[0], cursor[1], cursor[2], cursor[3]
    size = data.shape[0]
    status = DONE
    while position < size:
        if count == offsets.shape[0] or used + NAME_ROOM > blob.shape[0]:
            status = FULL
            break
        at = blanks(data, position)
        if at < size and data[at] != _LF:
            first = data[at]
            if comments and (first == _HASH or first == _SEMICOLON or first == _BANG):
                at = line_end(data, at)
            else:
                trigger = plain
                if first == _STAR and at + 1 < size and data[at + 1] == _DOT:
                    trigger = wild
                    at += 2
                end, filled = plain_name(data, at, size, blob, used)
                if end > 0:
                    after = blanks(data, end)
                    if comments and after > end and after < size and (data[after] == _HASH or data[after] == _SEMICOLON):
                        after = line_end(data, after)
                if end < 0 or trigger == 0 or (after < size and data[after] != _LF):
                    cursor[4] = line_end(data, position)
                    status = ODD
                    break
                at = after
                offsets[count] = used
                lines[count] = line
                triggers[count] = trigger
                actions[count] = 0
                count += 1
                used = filled
        position = at + 1
        line += 1
    cursor[0], cursor[1], cursor[2], cursor[3] = position, line, count, used
    return status


@compiled
def scan_adblock(data, cursor, blob, offsets, lines, triggers, actions, plain, wild):  # type: ignore[no-untyped-def]
    """`||name^` and comments. `plain` and `wild`: triggers of `||name^` and `||*.name^` (0: odd)."""
    position, line, count, used = cursor[0], cursor[1], cursor[2], cursor[3]
    size = data.shape[0]
    status = DONE
    while position < size:
        if count == offsets.shape[0] or used + NAME_ROOM > blob.shape[0]:
            status = FULL
            break
        at = blanks(data, position)
        if at < size and data[at] != _LF:
            if data[at] == _BANG:
                at = line_end(data, at)
            else:
                end = -1
                trigger = plain
                after = at
                filled = used
                if at + 2 < size and data[at] == _BAR and data[at + 1] == _BAR:
                    at += 2
                    if data[at] == _STAR and at + 1 < size and data[at + 1] == _DOT:
                        trigger = wild
                        at += 2
                    end, filled = plain_name(data, at, size, blob, used)
                    if end > 0 and end < size and data[end] == _CARET:
                        after = blanks(data, end + 1)
                    else:
                        end = -1
                if end < 0 or trigger == 0 or (after < size and data[after] != _LF):
                    cursor[4] = line_end(data, position)
                    status = ODD
                    break
                at = after
                offsets[count] = used
                lines[count] = line
                triggers[count] = trigger
                actions[count] = 0
                count += 1
                used = filled
        position = at + 1
        line += 1
    cursor[0], cursor[1], cursor[2], cursor[3] = position, line, count, used
    return status


Scanner = Callable[..., Any]


def drive(
    scanner: Scanner, data: NDArray[np.uint8], cursor: NDArray[np.int64], rows: Rows, *arguments: Any
) -> Iterator[tuple[int, int, int]]:
    """Run a scanner over `data`; gives each odd line as its number, start and end.

    On resuming, the scanner goes on after the odd line, unless whoever read it has moved the
    cursor: an entry may take several lines.
    """
    while True:
        cursor[COUNT], cursor[USED] = rows.count, rows.used
        status = scanner(data, cursor, rows.blob, rows.offsets, rows.lines, rows.triggers, rows.actions, *arguments)
        rows.count, rows.used = int(cursor[COUNT]), int(cursor[USED])
        if status == DONE:
            return
        if status == FULL:
            rows.grow()
            continue
        line, start, end = int(cursor[LINE]), int(cursor[POSITION]), int(cursor[END])
        cursor[LINE], cursor[POSITION] = line + 1, end + 1
        yield line, start, end


def cursor_at(position: int = 0, line: int = 1) -> NDArray[np.int64]:
    """A cursor before the line at `position`."""
    return np.array([position, line, 0, 0, 0], np.int64)


def octets(data: bytes | bytearray | memoryview) -> NDArray[np.uint8]:
    """The data as an array, without copying. Read-only, whatever the data: compiled code comes in one form."""
    array = np.frombuffer(data, np.uint8)
    array.flags.writeable = False
    return array


def rows_for(data: NDArray[np.uint8]) -> Rows:
    """Rows with room for a name a line, as a rule enough for the whole of `data`: lines of fewer than eight octets are not expected."""
    lines = 1 + sum(int(np.count_nonzero(data[begin : begin + _LOOK] == _LF)) for begin in range(0, len(data), _LOOK))
    names = min(lines, len(data) // 8 + 1, MOST)
    return Rows(names, min(len(data) + 2 * names, MOST_OCTETS - NAME_ROOM))


def lines_of(data: NDArray[np.uint8]) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each line that is not empty, its line feed left out; the feed is not split as a whole."""
    start, number = start_of_text(data), 1
    for begin in range(0, len(data), _LOOK):
        ends = np.flatnonzero(data[begin : begin + _LOOK] == _LF) + begin
        if not len(ends):
            continue
        starts = np.concatenate(([start], ends[:-1] + 1))
        rows = np.flatnonzero(ends > starts)
        yield from zip((rows + number).tolist(), starts[rows].tolist(), ends[rows].tolist(), strict=True)
        start, number = int(ends[-1]) + 1, number + len(ends)
    if start < len(data):
        yield number, start, len(data)


def odd_text(data: NDArray[np.uint8], start: int, end: int) -> str:
    """The text of an odd line. Raises ValueError, saying why, if it is none."""
    if end - start > MAX_LINE:
        raise ValueError(f"the line is longer than {MAX_LINE} octets")
    try:
        return data[start:end].tobytes().decode("utf-8")
    except UnicodeDecodeError:
        # Raised anew without its cause, which carries the line.
        raise ValueError("the line is not UTF-8") from None


def start_of_text(data: NDArray[np.uint8]) -> int:
    """Where the text starts: after the byte order mark of UTF-8, if there is one."""
    return 3 if data[:3].tobytes() == b"\xef\xbb\xbf" else 0
