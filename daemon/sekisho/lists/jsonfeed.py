"""Format `json`: names in an array, in objects, or in JSON Lines (RFC 8259).

Read as a stream of values, each decoded alone, so that a feed is never held as objects as a whole:

* strings in an array at the top are names;
* objects in such an array, or one a line, give the name (or names) under the key `column`;
* of an object at the top that holds arrays, each array is read the same way; strings count in the
  array whose key is `column`, or in any when the list has no `column`.

A value that cannot be decoded costs the rest of its line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.lists import domains
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import start_of_text
from sekisho.model.lists import Scope

_BATCH = 1 << 16
_SPACE = re.compile(r"[\s,]*")
_MARK = re.compile(r"\s*:\s*")


def read(data: NDArray[np.uint8], scope: Scope, column: str | None, rows: Rows, tally: Tally) -> None:
    """Read a feed into `rows`."""
    # Surrogates in place of bytes that are no UTF-8 make the name they stand in invalid, and no other.
    text = bytes(data[start_of_text(data) :].data).decode("utf-8", "surrogateescape")
    walker = _Walker(text, column, tally)
    values: list[str] = []
    numbers: list[int] = []
    for value, number in walker.names():
        values.append(value)
        numbers.append(number)
        if len(values) == _BATCH:
            domains.read_values(values, numbers, scope, rows, tally)
            values, numbers = [], []
    domains.read_values(values, numbers, scope, rows, tally)


@dataclass(slots=True)
class _Walker:
    text: str
    column: str | None
    tally: Tally
    decoder: json.JSONDecoder = field(default_factory=json.JSONDecoder)
    position: int = 0
    counted: int = 0
    line: int = 1
    told: bool = False
    """That what was opened is not closed, or that the last line could not be read."""

    def names(self) -> Iterator[tuple[str, int]]:
        """The names of the feed with their lines."""
        while self._skip_space():
            match self.text[self.position]:
                case "[":
                    self.position += 1
                    yield from self._array(strings=True)
                case "{":
                    self.position += 1
                    yield from self._object()
                case _:
                    yield from self._element(strings=True)

    def _array(self, *, strings: bool) -> Iterator[tuple[str, int]]:
        while self._skip_space():
            if self.text[self.position] == "]":
                self.position += 1
                return
            yield from self._element(strings=strings)
        self._breaks_off()

    def _object(self) -> Iterator[tuple[str, int]]:
        """An object at the top: arrays in it are read as they come, its scalars are a record of their own."""
        record: dict[str, Any] = {}
        arrays = False
        line = self._line()
        while self._skip_space():
            if self.text[self.position] == "}":
                self.position += 1
                break
            try:
                key, after = self.decoder.raw_decode(self.text, self.position)
                colon = _MARK.match(self.text, after)
                if colon is None or not isinstance(key, str):
                    raise ValueError("not a member")  # noqa: TRY301 - one place handles what is no member
                self.position = colon.end()
                if self.text[self.position : self.position + 1] == "[":
                    arrays = True
                    self.position += 1
                    yield from self._array(strings=self.column in (None, key))
                else:
                    record[key], self.position = self.decoder.raw_decode(self.text, self.position)
            except (ValueError, RecursionError):
                self._skip_line()
                return
        else:
            self._breaks_off()
        if self.column in record or not arrays:
            yield from self._chosen(record, line)

    def _element(self, *, strings: bool) -> Iterator[tuple[str, int]]:
        line = self._line()
        try:
            value, self.position = self.decoder.raw_decode(self.text, self.position)
        except (ValueError, RecursionError):
            self._skip_line()
            return
        if isinstance(value, str):
            if strings:
                yield value, line
        elif isinstance(value, dict):
            yield from self._chosen(value, line)
        else:
            self.tally.skip(line, "it is neither a string nor an object", json.dumps(value))

    def _chosen(self, record: dict[str, Any], line: int) -> Iterator[tuple[str, int]]:
        value = record.get(self.column) if self.column is not None else None
        if isinstance(value, str):
            yield value, line
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            for item in value:
                yield item, line
        else:
            wanted = f"{self.column!r}" if self.column is not None else "the key that `column` of the list would name"
            self.tally.skip(line, f"the object has no name under {wanted}", "")

    def _skip_space(self) -> bool:
        match = _SPACE.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
        return self.position < len(self.text)

    def _skip_line(self) -> None:
        line = self._line()
        end = self.text.find("\n", self.position)
        self.position = len(self.text) if end < 0 else end + 1
        self.tally.skip(line, "it is not JSON")
        self.told = self.told or not self._skip_space()

    def _breaks_off(self) -> None:
        """Said, since a feed cut short on its way may look whole otherwise."""
        if not self.told:
            self.tally.skip(self._line(), "the feed breaks off: what was opened is not closed")
        self.told = True

    def _line(self) -> int:
        self.line += self.text.count("\n", self.counted, self.position)
        self.counted = self.position
        return self.line
