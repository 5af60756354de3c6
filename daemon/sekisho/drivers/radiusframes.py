"""What the listener for RADIUS and the control plane say to each other, over a socket between the two.

The listener says lines of JSON: {"told": [[ticket, ...], ...]} requests to be carried out, {"seen": [...], "refused": [...]}
counts since it started, and whose packets it refused since it last said so. The control plane says frames: their length, a
letter, and by it an `Order` (pickled: the listener takes it from nobody else) or the tickets (JSON) of what is on disk and in
force.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sekisho.model.customers import Prefix
from sekisho.model.sessions import Accounting, AccountingKind, Ports, Share
from sekisho.sessions.mape import Rule

Row = list[Any]

LENGTH = struct.Struct("!I")
ORDER, DONE = b"o", b"d"
MAX_LINE = 1 << 22
"""Bytes of a line at most: the requests of one look at the sockets."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A NAS as the listener knows it. Attributes are (vendor, type), vendor 0: standard."""

    id: str
    prefixes: tuple[Prefix, ...]
    identifier: str | None
    proxy: bool
    secret: bytes
    signed: bool
    """A packet must have a Message-Authenticator."""
    swap: bool
    range: tuple[int, int] | None = None
    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None
    address: tuple[int, int] | None = None
    timed: bool = False
    """Its Event-Timestamp is right."""


@dataclass(frozen=True, slots=True)
class Order:
    """By which the listener reads packets from now on."""

    peers: tuple[Peer, ...]
    rules: tuple[Rule, ...]


def row_of(ticket: int, told: Accounting) -> Row:
    prefixes = [[prefix.value, prefix.length] for prefix in told.prefixes]
    shares, gone = (
        [[one.prefix.value, one.ports.first, one.ports.last, one.ports.step, one.ports.times] for one in several]
        for several in (told.shares, told.gone)
    )
    name = [ticket, told.kind.value, told.nas, told.at, told.session, told.user]
    return [*name, prefixes, shares, told.down, told.up, told.wide, told.seconds, gone, told.adds]


def accounting_of(row: Row) -> tuple[int, Accounting]:
    ticket, kind, nas, at, session, user, held, shared, down, up, wide, seconds, given, adds = row
    prefixes = tuple(Prefix(value, length) for value, length in held)
    shares, gone = (tuple(Share(Prefix(value, 128), Ports(*ports)) for value, *ports in several) for several in (shared, given))
    return ticket, Accounting(AccountingKind(kind), nas, at, session, user, prefixes, shares, down, up, wide, seconds, gone, adds)


def line_of(**words: object) -> bytes:
    return json.dumps(words, separators=(",", ":")).encode() + b"\n"


def frame_of(letter: bytes, body: bytes) -> bytes:
    return LENGTH.pack(1 + len(body)) + letter + body


def counts_of(counts: dict[tuple[str, str], int]) -> list[list[object]]:
    return [[kind, outcome, count] for (kind, outcome), count in counts.items()]


def counts_from(rows: Sequence[Sequence[Any]]) -> dict[tuple[str, str], int]:
    return {(kind, outcome): count for kind, outcome, count in rows}
