"""The requests for which an answer is given again, or is not yet due (RFC 5080 section 2.2.2).

Owns how a packet is known to be the one that came before, for how long, and how many answers are held. Five thousand requests
a second are a hundred and fifty thousand answers: each is one object, forgotten with those of the same moment.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from sekisho.model.sessions import AccountingKind

ANSWERED_FOR = 30.0
"""Seconds for which an answer is given again at most, and one less at least (RFC 5080 section 2.2.2: 5 to 30). The longest there
is: where packets wait in the kernel because too many come, what was told again meanwhile is known for that when its turn comes,
and is not carried out anew.
"""
HELD = 250_000
"""Answers held at most, some 70 MiB; the oldest go first."""
_MOMENT = 1.0
"""Seconds whose answers are forgotten together: little of what is held comes and goes at once, and to look in all of them takes 1.5 µs."""
_KINDS = tuple(kind.value for kind in AccountingKind)


class Answers:
    """Of one listener. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._due: dict[bytes, str] = {}
        self._moments: deque[tuple[float, dict[bytes, bytes]]] = deque()
        """When the answers of a moment end, and for each request the number of its kind and the answer."""

    def __len__(self) -> int:
        return sum(len(answers) for _, answers in self._moments)

    def expect(self, key: bytes, kind: str) -> None:
        """A request is in work."""
        self._due[key] = kind

    def find(self, key: bytes) -> tuple[str, bytes | None] | None:
        """The kind and the answer of a request that came before; the answer None: not yet due. None: it did not."""
        for _, answers in self._moments:
            answer = answers.get(key)
            if answer is not None:
                return _KINDS[answer[0]], answer[1:]
        kind = self._due.get(key)
        return None if kind is None else (kind, None)

    def give(self, key: bytes, answer: bytes, now: float) -> None:
        """A request is answered."""
        if not self._moments or self._moments[-1][0] <= now + ANSWERED_FOR - _MOMENT:
            self._moments.append((now + ANSWERED_FOR, {}))
        self._moments[-1][1][key] = bytes((_KINDS.index(self._due.pop(key)),)) + answer
        while len(self) > HELD:
            self._moments.popleft()

    def forget(self, now: float) -> None:
        """Hold no answer any longer whose time is over."""
        while self._moments and self._moments[0][0] < now:
            self._moments.popleft()


def key_of(number: int, data: bytes, source: tuple[Any, ...]) -> bytes:
    """What makes a packet the same one again: the socket's `number`, where it came from, its identifier and authenticator."""
    return data[:20] + repr((number, *source)).encode()
