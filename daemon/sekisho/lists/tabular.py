"""Format `csv`: a table with a header row, whose column `column` has the names.

The header is the first line that has the column, with or without `#` before it, as threat feeds
print it; lines starting with `#` elsewhere are comments. The delimiter is what the header is
divided by: comma, semicolon or tab. A row is one line: a quoted field may hold delimiters and
doubled quotes but no line feed, so that a lost quote costs one line and not the feed.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sekisho.lists import domains
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import MAX_LINE, lines_of
from sekisho.model.errors import FeedError
from sekisho.model.lists import Scope

_DELIMITERS = ",;\t"
_HEADER_LINES = 1000


def read(data: NDArray[np.uint8], scope: Scope, column: str | None, rows: Rows, tally: Tally) -> None:
    """Read a feed into `rows`. Raises FeedError if no header has the column."""
    lines = _lines(data)
    delimiter, index = _header(lines, column, tally.file)
    values = domains.Values(scope, rows, tally)
    for number, raw in lines:
        if raw.startswith(b"#") or (len(raw) <= MAX_LINE and not raw.strip()):
            continue
        try:
            values.add(_field(raw, delimiter, index), number)
        except ValueError as error:
            tally.skip(number, str(error), raw[:MAX_LINE].decode("utf-8", "replace"))
    values.close()


def _lines(data: NDArray[np.uint8]) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers; of one too long to be a row, more than a row can have."""
    view = data.data
    for number, start, end in lines_of(data):
        if end - start > 2 * MAX_LINE:
            yield number, bytes(view[start : start + 2 * MAX_LINE])
        else:
            yield number, bytes(view[start:end]).rstrip(b"\r")


def _header(lines: Iterator[tuple[int, bytes]], column: str | None, file: str) -> tuple[str, int]:
    for _, raw in itertools.islice(lines, _HEADER_LINES):
        if len(raw) > MAX_LINE:
            continue
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
