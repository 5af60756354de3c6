"""Reading requests: which fields they have, of which type. Anything else is refused with a sentence.

A message names the field and never its value: a value may be a name of a sealed list.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from sekisho.model.errors import SekishoError

MAX_BODY = 1 << 20
"""Bytes of a request body at most."""
MAX_LIMIT = 10_000
"""Rows of one answer at most."""


class BadRequestError(SekishoError):
    """The request is not one this API knows; the caller's program is wrong, or of another version."""


class ForbiddenError(SekishoError):
    """The caller has not the role the request needs."""


class Fields:
    """The fields of one request, taken out one by one; `end` refuses what is left over."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    @classmethod
    def of_body(cls, body: bytes) -> Fields:
        """Parse a JSON object. Raises BadRequestError for anything else."""
        try:
            document = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise BadRequestError("the request's body is not JSON; send one JSON object") from None
        if not isinstance(document, dict):
            raise BadRequestError("the request's body is not a JSON object; send one")
        return cls(document)

    def text(self, name: str) -> str:
        value = self.optional_text(name)
        if value is None:
            raise BadRequestError(f"the field {name} is missing; send it as a string that is not empty")
        return value

    def optional_text(self, name: str) -> str | None:
        value = self._values.pop(name, None)
        if value is not None and (not isinstance(value, str) or not value):
            raise BadRequestError(f"the field {name} is not a string; send a string that is not empty, or leave it out")
        return value

    def flag(self, name: str) -> bool:
        value = self._values.pop(name, False)
        if not isinstance(value, bool):
            raise BadRequestError(f"the field {name} is not true or false; send one of the two, or leave it out")
        return value

    def time(self, name: str) -> float | None:
        """UNIX seconds, as a number or, in a query string, its digits."""
        value = self._values.pop(name, None)
        if value is None:
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number < 1e11:
            raise BadRequestError(f"the field {name} is not a time; send UNIX seconds")
        return number

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self._values.pop(name, default)
        try:
            number = low - 1 if isinstance(value, bool | float) else int(value)
        except (TypeError, ValueError):
            number = low - 1
        if not low <= number <= high:
            raise BadRequestError(f"the field {name} is not a whole number from {low} to {high}; send one, or leave it out")
        return number

    def texts(self, name: str) -> list[str]:
        value = self._values.pop(name, None)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise BadRequestError(f"the field {name} is no list of strings; send one, or leave it out")
        return value

    def some_time(self, name: str) -> float:
        value = self.time(name)
        if value is None:
            raise BadRequestError(f"the field {name} is missing; send UNIX seconds")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._values.pop(name, None)
        if not isinstance(value, dict):
            raise BadRequestError(f"the field {name} is missing or no object; send a JSON object")
        return value

    def mappings(self, name: str, most: int) -> list[dict[str, Any]]:
        value = self._values.pop(name, None)
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise BadRequestError(f"the field {name} is missing or no list of objects; send a JSON array of objects")
        if len(value) > most:
            raise BadRequestError(f"the field {name} holds {len(value)} objects; send at most {most} at a time")
        return value

    def end(self) -> None:
        """Refuse fields nobody asked for: a misspelt one must not pass for its default."""
        if self._values:
            raise BadRequestError(f"the request has fields this API does not know ({len(self._values)}); see the client's version")
