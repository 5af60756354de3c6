"""Format `csv`: a table with a header row, whose column `column` has the names.

The header is the first line that has the column, with or without `#` before it, as threat feeds
print it; lines starting with `#` elsewhere are comments. The delimiter is what the header is
divided by: comma, semicolon or tab. A row is one line: a quoted field may hold delimiters and
doubled quotes but no line feed, so that a lost quote costs one line and not the feed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sekisho.lists import domains
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import MAX_LINE, start_of_text
from sekisho.model.errors import FeedError
from sekisho.model.lists import Scope

_DELIMITERS = ",;\t"
_HEADER_LINES = 1000
_BATCH = 1 << 16


def read(data: NDArray[np.uint8], scope: Scope, column: str | None, rows: Rows, tally: Tally) -> None:
    """Read a feed into `rows`. Raises FeedError if no header has the column."""
    lines = _lines(data)
    delimiter, index = _header(lines, column, tally.file)
    values: list[str] = []
    numbers: list[int] = []
    for number, raw in lines:
        if not raw.strip() or raw.startswith(b"#"):
            continue
        try:
            values.append(_field(raw, delimiter, index))
            numbers.append(number)
        except ValueError as error:
            tally.skip(number, str(error), raw[:MAX_LINE].decode("utf-8", "replace"))
        if len(values) == _BATCH:
            domains.read_values(values, numbers, scope, rows, tally)
            values, numbers = [], []
    domains.read_values(values, numbers, scope, rows, tally)


def _lines(data: NDArray[np.uint8]) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, one at a time: the feed is not split as a whole."""
    view = data.data
    breaks = np.flatnonzero(data == 10)
    start = start_of_text(data)
    number = 0
    for end in breaks.tolist():
        number += 1
        yield number, bytes(view[start:end]).rstrip(b"\r")
        start = end + 1
    if start < len(data):
        yield number + 1, bytes(view[start:])


def _header(lines: Iterator[tuple[int, bytes]], column: str | None, file: str) -> tuple[str, int]:
    for _, raw in (next(lines, (0, b"")) for _ in range(_HEADER_LINES)):
        text = raw.decode("utf-8", "replace").lstrip("# \t")
        for delimiter in sorted(_DELIMITERS, key=text.count, reverse=True):
            fields = [field.strip().strip('"') for field in text.split(delimiter)]
            if column is None and len(fields) == 1 and text.strip():
                return delimiter, 0
            if column in fields:
                return delimiter, fields.index(column)
    wanted = f"a column {column!r}" if column is not None else "one column alone"
    raise FeedError(f"{file}: no header row with {wanted}; set `column` of the list to a name that stands in the header")


def _field(raw: bytes, delimiter: str, index: int) -> str:
    if len(raw) > MAX_LINE:
        raise ValueError(f"the line is longer than {MAX_LINE} octets")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the line is not UTF-8") from None
    if '"' not in text:
        fields = text.split(delimiter)
    else:
        try:
            fields = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True))
        except (csv.Error, StopIteration):
            raise ValueError("its quotes do not match") from None
    if index >= len(fields):
        raise ValueError("it has too few fields")
    return fields[index].strip()
