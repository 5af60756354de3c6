"""Format `json`: names in an array, in objects, or in JSON Lines (RFC 8259).

Read as a stream of values, each decoded alone, so that a feed is never held as objects as a whole:

* strings in an array at the top are names;
* objects in such an array, or one a line, give the name (or names) under the key `column`;
* of an object at the top that holds arrays, each array is read the same way; strings count in the
  array whose key is `column`, or in any when the list has no `column`.

A value that cannot be decoded costs the rest of its line. One of more than ELEMENT characters is passed over to its end: it would be
held as objects, which take twenty times as much. The text is decoded as far ahead as that, and let go behind.

A feed that begins as one value over several lines is refused where that is cut off or broken: of its lines nobody knows any more
what they are, and keys, or what is let through, are no names to block. Where the first value ends on its line, each line is for itself.
"""

from __future__ import annotations

import codecs
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
from sekisho.model.errors import FeedError
from sekisho.model.lists import Scope

ELEMENT = 1 << 20
"""Characters of one value: of an element of an array at the top, a line of JSON Lines, a member that is no array."""

_STEP = 1 << 18
"""Octets decoded at a time."""
_CUT = 16
"""An error so near to the end of what is decoded is that of a value that goes on behind it."""
_SPACE = re.compile(r"[\s,]*")
_MARK = re.compile(r"\s*:\s*")
_BRACKET = re.compile(r'["{}\[\]]')
_QUOTED = re.compile(r'"|\\.', re.DOTALL)
"""What is of meaning in a string: its end, and what an escape takes its meaning from."""
_NO_JSON = "it is not JSON"
_CLOSERS = {"[": "]", "{": "}"}
_TOO_LONG = f"one value has more than {ELEMENT} characters; a feed has a name, or an object, in each"


class _TooLongError(ValueError):
    """The value at the position is longer than may be decoded."""

    def __init__(self) -> None:
        super().__init__(_TOO_LONG)


def read(data: NDArray[np.uint8], scope: Scope, column: str | None, rows: Rows, tally: Tally) -> None:
    """Read a feed into `rows`. Raises FeedError if it is one value that is cut off or broken."""
    values = domains.Values(scope, rows, tally)
    for value, number in _Walker(data, column, tally, start_of_text(data)).names():
        values.add(value, number)
    values.close()


@dataclass(slots=True)
class _Walker:
    data: NDArray[np.uint8]
    column: str | None
    tally: Tally
    taken: int
    """Octets that are decoded."""
    text: str = ""
    """Of what is decoded, as much as is not read yet, and some before it."""
    # Surrogates in place of bytes that are no UTF-8 make the name they stand in invalid, and no other.
    characters: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("surrogateescape"))
    decoder: json.JSONDecoder = field(default_factory=json.JSONDecoder)
    position: int = 0
    enough: int = 0
    """Before here there is so much ahead that no value can end behind it."""
    counted: int = 0
    line: int = 1
    told: bool = False
    """That what was opened is not closed, or that the last line could not be read."""
    whole: bool = True
    """Whether the feed is one value, as far as is known, and not one a line."""
    began: int = 1
    """The line of the value at the top, """
    closer: str = ""
    """by what it is closed, """
    ended: bool = False
    """and whether it was in the rest of a line that was skipped."""

    def names(self) -> Iterator[tuple[str, int]]:
        """The names of the feed with their lines. Raises FeedError."""
        first = True
        while self._skip_space():
            opener = self.text[self.position]
            self.began, self.closer, self.ended = self._line(), _CLOSERS.get(opener, ""), False
            match opener:
                case "[":
                    self.position += 1
                    yield from self._array(strings=True)
                case "{":
                    self.position += 1
                    yield from self._object()
                case "]" | "}" | ":" if self.whole:
                    raise self._broken(self.began)
                case _:
                    yield from self._element(strings=True)
            if first:
                on_its_line = self._is_next_a_value() if self.ended else self._line() == self.began
                first, self.whole = False, bool(self.closer) and not on_its_line

    def _array(self, *, strings: bool) -> Iterator[tuple[str, int]]:
        while not self.ended and self._skip_space():
            if self.text[self.position] == "]":
                self.position += 1
                return
            yield from self._element(strings=strings)
        if not self.ended:
            self._breaks_off()

    def _object(self) -> Iterator[tuple[str, int]]:
        """An object at the top: arrays in it are read as they come, its scalars are a record of their own."""
        record: dict[str, Any] = {}
        arrays = False
        line = self._line()
        while not self.ended:
            if not self._skip_space():
                self._breaks_off()
                break
            if self.text[self.position] == "}":
                self.position += 1
                break
            try:
                if self.text[self.position] != '"':
                    raise ValueError(_NO_JSON)  # noqa: TRY301 - one place handles what is no member
                key = self._value()
                colon = _MARK.match(self.text, self.position)
                if colon is None:
                    raise ValueError(_NO_JSON)  # noqa: TRY301
                self.position = colon.end()
                self._look_ahead()
                if self.text[self.position : self.position + 1] == "[":
                    arrays = True
                    self.position += 1
                    yield from self._array(strings=self.column in (None, key))
                    continue
                value = self._value()
            except _TooLongError:
                self._pass_over()
                continue
            except ValueError as error:
                self._leave_object(str(error))
                return
            if key == self.column:
                record[key] = value
        if self.column in record or not arrays:
            yield from self._chosen(record, line)

    def _element(self, *, strings: bool) -> Iterator[tuple[str, int]]:
        line = self._line()
        try:
            value = self._value()
        except _TooLongError:
            self._pass_over()
            return
        except ValueError as error:
            self._skip_line(str(error))
            return
        if isinstance(value, str):
            if _MARK.match(self.text, self.position):
                # Of an object whose beginning could not be read.
                if self.whole and not self.closer:
                    raise self._broken(line)
                self._skip_line("it is a key, and no name")
            elif strings:
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

    def _value(self) -> Any:
        """The value at the position, which moves behind it. Raises ValueError, whose text is what is wrong, without the value."""
        try:
            value, end = self.decoder.raw_decode(self.text, self.position)
        except json.JSONDecodeError as error:
            cut = error.pos >= len(self.text) - _CUT or error.msg.startswith("Unterminated")
            if cut and not self._is_all() and self.text[self.position] in '"{[':
                raise _TooLongError from None
            raise ValueError(_NO_JSON) from None
        except (ValueError, RecursionError):
            raise ValueError(_NO_JSON) from None
        if end - self.position > ELEMENT:
            raise _TooLongError
        self.position = end
        if end >= self.enough:
            self._look_ahead()
        return value

    def _is_all(self) -> bool:
        return self.taken >= len(self.data)

    def _look_ahead(self) -> None:
        """Decode more, so that a value that may be read is here as a whole. What was read is let go."""
        if self._is_all() or self.position < self.enough:
            return
        self._line()
        parts = [self.text[self.position :]]
        while not self._is_all() and sum(map(len, parts)) <= ELEMENT:
            octets = self.data[self.taken : self.taken + _STEP].tobytes()
            self.taken += len(octets)
            parts.append(self.characters.decode(octets, self._is_all()))
        self.text, self.position, self.counted = "".join(parts), 0, 0
        self.enough = len(self.text) if self._is_all() else len(self.text) - ELEMENT

    def _skip_space(self) -> bool:
        while True:
            match = _SPACE.match(self.text, self.position)
            if match is not None:
                self.position = match.end()
            if self.position < self.enough:
                return True
            if self._is_all():
                return self.position < len(self.text)
            self._look_ahead()

    def _pass_over(self) -> None:
        """Go to the end of the value at the position, a string, an array or an object, and say that it is too long."""
        self.tally.skip(self._line(), _TOO_LONG)
        depth, quoted = 0, False
        while True:
            found = (_QUOTED if quoted else _BRACKET).search(self.text, self.position)
            if found is None:
                # An escape may be cut in two.
                self.position = len(self.text) - (quoted and self.text.endswith("\\", self.position))
                if self._is_all():
                    self._breaks_off()
                    self.position = len(self.text)
                    return
                self._look_ahead()
                continue
            self.position = found.end()
            if found[0] == '"':
                quoted = not quoted
            elif not quoted:
                depth += 1 if found[0] in "{[" else -1
            if not quoted and depth <= 0:
                return

    def _skip_line(self, reason: str) -> None:
        line = self._line()
        while (end := self.text.find("\n", self.position)) < 0 and not self._is_all():
            self.position = len(self.text)
            self._look_ahead()
        end = len(self.text) if end < 0 else end
        rest = self.text[self.position : end].rstrip()
        # What ends there by chance has opened what it closes.
        closed = rest.count("]") + rest.count("}") - rest.count("[") - rest.count("{")
        self.position = min(end + 1, len(self.text))
        self.tally.skip(line, reason)
        is_last = not self._skip_space()
        self.ended = closed > 0 and rest[-1:] == self.closer and (line == self.began or is_last)
        self.told = self.told or is_last

    def _leave_object(self, reason: str) -> None:
        """What cannot be read in an object at the top costs the line of an object a line, and else the feed. Raises FeedError."""
        line = self._line()
        self._skip_line(reason)
        if not self.whole or self.ended:
            return
        if not self._skip_space():
            self._breaks_off()
        if line > self.began or not self._is_next_a_value():
            raise self._broken(line)

    def _is_next_a_value(self) -> bool:
        """Whether what follows is a value of a line of its own, or nothing."""
        return not self._skip_space() or self.text[self.position] in _CLOSERS

    def _broken(self, line: int) -> FeedError:
        return FeedError(f"its JSON is broken at line {line}, in an array or object of several lines; the source should mend it")

    def _breaks_off(self) -> None:
        """Said, since a feed cut short on its way may look whole otherwise. Raises FeedError for one that is one value."""
        if self.whole:
            raise FeedError(
                f"it breaks off: what was opened in line {self.began} of the JSON is not closed at its end, line {self._line()}; "
                "see that the source is sent and kept whole"
            )
        if not self.told:
            self.tally.skip(self._line(), "the feed breaks off: what was opened is not closed")
        self.told = True

    def _line(self) -> int:
        self.line += self.text.count("\n", self.counted, self.position)
        self.counted = self.position
        return self.line
