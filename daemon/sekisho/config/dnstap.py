"""The `dnstap:` section: resolvers that customers ask directly tell, over a Unix socket, whose queries came in.

Owns the keys and their defaults. What is read of what they tell is `sekisho.dnstap`'s.
"""

from __future__ import annotations

import enum
import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from sekisho.config.accounts import Group
from sekisho.config.validation import FileModel, shown
from sekisho.config.values import FilePath, Whole

CONNECTIONS = 64
_MODE = re.compile(r"0?[0-7]{3}")


class Counted(enum.StrEnum):
    """Which messages are a customer's queries."""

    QUERIES = "queries"
    """CLIENT_QUERY; CLIENT_RESPONSE, where a resolver sends it, tells which of them were answered."""
    RESPONSES = "responses"
    """CLIENT_RESPONSE alone: of resolvers that tell of answers only. Who is not answered is not counted, so that the condition of a
    measure which silences does not end by itself."""


def _as_mode(value: object) -> int:
    # A number has lost its octal digits.
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise ValueError(f'expected a mode in quotes, such as "0660"; found {shown(value)}')
    mode = int(value, 8)
    if mode & 0o111 or mode & 0o600 != 0o600:
        raise ValueError(f"{value} is no mode of a socket: its owner reads and writes, and nobody executes; such as 0660")
    return mode


class DnstapSettings(FileModel):
    """Where resolvers tell whose queries came in. Only those that customers ask: one behind the checkpoint would count everything twice."""

    socket: FilePath
    """Path of the Unix socket, made by the daemon. Whoever may write to it may make queries up."""
    group: Group | None = None
    """Group the socket is given to, which the resolvers' users are in; null: the daemon's own."""
    mode: Annotated[int, BeforeValidator(_as_mode), WithJsonSchema({"type": "string", "pattern": f"^{_MODE.pattern}$"})] = 0o660
    """Who may write to it."""
    count: Counted = Counted.QUERIES
    """Which messages are a customer's queries."""
    connections: Annotated[Whole, Field(ge=1, le=256)] = CONNECTIONS
    """Connections at once; a resolver may open one per thread."""
