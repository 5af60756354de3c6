"""Elements and limits of our tables of nftables, written to netlink: a transaction of thousands in a few messages.

libnftables reads all objects of a table before it writes an element, and checks each as text; both take seconds where there are many.
Sets, chains and rules are its to make (`nftables`). The layout is that of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from sekisho.drivers.netlink import CREATE, NESTED, NETFILTER, Message, Netlink, attribute, text
from sekisho.drivers.setdump import FAMILIES, LIMIT, SUBSYSTEM, Limit
from sekisho.model.errors import UnavailableError

_NEWSETELEM, _DELSETELEM, _NEWOBJ, _DELOBJ = (SUBSYSTEM | one for one in (12, 14, 18, 20))
_BEGIN, _END = 16, 17
_TABLE, _NAME, _ELEMENTS = 1, 2, 3
_KEY, _DATA, _OBJECT, _VALUE = 1, 2, 9, 1
_TYPE, _CONTENT = 3, 4
_ROOM = 60_000
"""Octets of elements in a message: the length of an attribute has 16 bits."""


class SetWrite:
    """One netlink socket, of the network namespace of the thread it is made in."""

    def __init__(self) -> None:
        """Raises UnavailableError."""
        try:
            self._netlink = Netlink(NETFILTER)
        except OSError as error:
            raise UnavailableError(f"nftables: no netlink socket ({error.strerror}); see RestrictAddressFamilies= of the unit") from error

    def close(self) -> None:
        self._netlink.close()

    def commit(self, messages: Iterable[Message]) -> None:
        """Write all of it, or nothing. Raises UnavailableError."""
        inner = list(messages)
        if not inner:
            return
        # A batch begins and ends with a message to the subsystem it is of (nfnetlink).
        ends = [Message(kind, 0, bytes((0, 0, 0, SUBSYSTEM >> 8))) for kind in (_BEGIN, _END)]
        try:
            answers = self._netlink.ask([ends[0], *inner, ends[1]], to_last=2)
        except OSError as error:
            raise UnavailableError(f"nftables: nothing could be written ({error.strerror}); see `nft list ruleset`") from error
        for code in answers.errors.values():
            hint = "give the daemon CAP_NET_ADMIN" if code in {1, 13} else "see `nft list ruleset`"
            raise UnavailableError(f"nftables: a change was refused ({os.strerror(code)}); {hint}")


def elements_in(family: str, table: str, name: str, given: Mapping[bytes, str], words: Mapping[str, bytes] | None) -> Iterator[Message]:
    """Elements to be there, with what each stands for: by `words` a value, without an object of that name."""
    if words is None:
        # A limit is one customer's: each is another one.
        pairs = ((key, text(_OBJECT, word) if word else b"") for key, word in given.items())
    else:
        tails = {word: attribute(_DATA | NESTED, attribute(_VALUE, value)) for word, value in words.items()}
        pairs = ((key, tails[word]) for key, word in given.items())
    yield from _elements(_NEWSETELEM, CREATE, family, table, name, pairs)


def elements_out(family: str, table: str, name: str, keys: Iterable[bytes]) -> Iterator[Message]:
    """Elements to be there no more."""
    yield from _elements(_DELSETELEM, 0, family, table, name, ((key, b"") for key in keys))


def limits_in(family: str, table: str, given: Mapping[str, int], limit_of: Callable[[int], Limit]) -> Iterator[Message]:
    """Limits to be there, by name; `limit_of` says what a number stands for."""
    head, kind = _object(family, table)
    tails = {many: kind + _content(limit_of(many)) for many in set(given.values())}
    for name, many in given.items():
        yield Message(_NEWOBJ, CREATE, head + text(_NAME, name) + tails[many])


def limit_out(family: str, table: str, name: str) -> Message:
    head, kind = _object(family, table)
    return Message(_DELOBJ, 0, head + text(_NAME, name) + kind)


@lru_cache
def _object(family: str, table: str) -> tuple[bytes, bytes]:
    """What stands before and after the name of a limit."""
    return _head(family) + text(_TABLE, table), attribute(_TYPE, LIMIT.to_bytes(4, "big"))


def _content(limit: Limit) -> bytes:
    numbers = ((1, limit.rate, 8), (2, limit.unit, 8), (3, limit.burst, 4), (4, limit.kind, 4), (5, limit.flags, 4))
    return attribute(_CONTENT | NESTED, b"".join(attribute(kind, value.to_bytes(width, "big")) for kind, value, width in numbers))


def _head(family: str) -> bytes:
    return bytes((FAMILIES[family], 0, 0, 0))


def _elements(kind: int, flags: int, family: str, table: str, name: str, given: Iterable[tuple[bytes, bytes]]) -> Iterator[Message]:
    head = _head(family) + text(_TABLE, table) + text(_NAME, name)
    heads: dict[tuple[int, int], bytes] = {}
    parts: list[bytes] = []
    size = 0
    for key, tail in given:
        length = len(key), len(tail)
        front = heads.get(length)
        if front is None:
            inner = attribute(_KEY | NESTED, attribute(_VALUE, key))
            front = heads[length] = attribute(_VALUE | NESTED, inner + tail)[: 4 + len(inner) - len(key)]
        parts += (front, key, tail)
        size += len(front) + len(key) + len(tail)
        if size >= _ROOM:
            yield Message(kind, flags, head + attribute(_ELEMENTS | NESTED, b"".join(parts)))
            parts, size = [], 0
    if parts:
        yield Message(kind, flags, head + attribute(_ELEMENTS | NESTED, b"".join(parts)))
