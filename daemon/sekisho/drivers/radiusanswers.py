"""The requests that are in work, and those for which an answer is given again (RFC 5080 section 2.2.2).

Owns how a packet is known to be the one that came before, for how long, and how much is held. A request has its answer made when it
comes, and keeps it in memory that is there from the start and whose oldest part is written over: however unevenly packets come, the
process stays as large as it began, and makes no object that outlives a packet.
"""

from __future__ import annotations

import socket
import struct
from array import array
from typing import Any

from sekisho.model.sessions import AccountingKind

ANSWERED_FOR = 30.0
"""Seconds for which an answer is given again (RFC 5080 section 2.2.2: 5 to 30). The longest there is: where packets wait in the
kernel because too many come, what was told again meanwhile is known for that when its turn comes, and is not carried out anew.
"""
HELD = 250_000
"""Requests held at most; the oldest go first. Five thousand a second are a hundred and fifty thousand."""
ROOM = 20 << 20
"""Bytes of what tells them apart and of their answers: of a NAS with an IPv4 address 65 each, and what its Proxy-State takes."""
_KINDS = tuple(kind.value for kind in AccountingKind)
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_IN_WORK = -1.0
_HEADER = 20
_V4, _V6 = struct.Struct("!BH4s"), struct.Struct("!BHII16s")
"""The socket's place and where a packet came from."""


class Answers:
    """Of one listener. Times are monotonic seconds.

    Requests have the numbers 1, 2, ... in the order they came in. What is kept of one stands in `_memory`, which goes round, and at its
    number in the arrays, which go round too. Those whose keys are alike by a hash are a chain, from the last that came to the ones
    before: it ends at the first that is held no more, so nothing is ever taken out of it.
    """

    def __init__(self, held: int = HELD, room: int = ROOM) -> None:
        self.in_work = 0
        """Requests without an answer yet."""
        places = 1 << (held - 1).bit_length()
        self._held, self._mask = held, places - 1
        self._first, self._next, self._end = 1, 1, 0
        """The oldest number held; the next to be given; where in the memory what is kept of that begins."""
        # Written here once, so that all of it is there.
        self._memory = bytearray(room)
        self._begins = array("I", (0,)) * places
        self._keys = array("H", (0,)) * places
        self._sizes = array("H", (0,)) * places
        self._kinds = bytearray(places)
        self._answered = array("d", (0.0,)) * places
        self._heads = array("Q", (0,)) * places
        self._before = array("Q", (0,)) * places

    def __len__(self) -> int:
        return self._next - self._first

    def find(self, key: bytes, now: float) -> tuple[str, bytes | None] | None:
        """The kind and the answer of a request that came before; the answer None: not yet due. None: it did not."""
        memory, mask = self._memory, self._mask
        number = self._heads[hash(key) & mask]
        while number >= self._first:
            at = number & mask
            begin = self._begins[at]
            if memory.startswith(key, begin) and self._keys[at] == len(key):
                answered = self._answered[at]
                if answered == _IN_WORK:
                    return _KINDS[self._kinds[at]], None
                # The chain goes on to older ones alone.
                return (_KINDS[self._kinds[at]], self._answer(at)) if now - answered <= ANSWERED_FOR else None
            number = self._before[at]
        return None

    def expect(self, key: bytes, kind: str, answer: bytes) -> int:
        """A request is in work. Gives its number, by which it is answered."""
        size = len(key) + len(answer)
        begin = self._place(size)
        number, mask = self._next, self._mask
        if number - self._first >= self._held:
            self._drop()
        at, head = number & mask, hash(key) & mask
        self._memory[begin : begin + size] = key + answer
        self._begins[at], self._keys[at], self._sizes[at] = begin, len(key), size
        self._kinds[at], self._answered[at] = _NUMBERS[kind], _IN_WORK
        self._before[at], self._heads[head] = self._heads[head], number
        self._next, self._end = number + 1, begin + size
        self.in_work += 1
        return number

    def give(self, number: int, now: float) -> tuple[bytes, str, bytes] | None:
        """A request is answered: its key, its kind, its answer. None: it was, or it is held no more."""
        at = number & self._mask
        if not self._first <= number < self._next or self._answered[at] != _IN_WORK:
            return None
        self._answered[at] = now
        self.in_work -= 1
        begin = self._begins[at]
        return bytes(self._memory[begin : begin + self._keys[at]]), _KINDS[self._kinds[at]], self._answer(at)

    def _answer(self, at: int) -> bytes:
        begin = self._begins[at]
        return bytes(self._memory[begin + self._keys[at] : begin + self._sizes[at]])

    def _place(self, size: int) -> int:
        """Where in the memory there is room for so much; the oldest that stood there are held no more."""
        begin, begins = self._end, self._begins
        if begin + size > len(self._memory):
            while self._first < self._next and begins[self._first & self._mask] >= begin:
                self._drop()
            begin = 0
        while self._first < self._next and begin <= begins[self._first & self._mask] < begin + size:
            self._drop()
        return begin

    def _drop(self) -> None:
        """Hold the oldest no more. One that is in work still is told again, and carried out anew, which changes nothing."""
        if self._answered[self._first & self._mask] == _IN_WORK:
            self.in_work -= 1
        self._first += 1


def key_of(place: int, data: bytes, source: tuple[Any, ...]) -> bytes:
    """What makes a packet the same one again: its identifier and authenticator, the socket's `place`, and where it came from."""
    if len(source) == 2:
        return data[:_HEADER] + _V4.pack(place, source[1], socket.inet_aton(source[0]))
    host, port, flow, scope = source
    return data[:_HEADER] + _V6.pack(place, port, flow, scope, socket.inet_pton(socket.AF_INET6, host.partition("%")[0]))


def source_of(key: bytes) -> tuple[int, tuple[Any, ...]]:
    """The socket's place, and where the packet of a key came from."""
    origin = key[_HEADER:]
    if len(origin) == _V4.size:
        place, port, host = _V4.unpack(origin)
        return place, (socket.inet_ntoa(host), port)
    place, port, flow, scope, host = _V6.unpack(origin)
    return place, (socket.inet_ntop(socket.AF_INET6, host), port, flow, scope)
