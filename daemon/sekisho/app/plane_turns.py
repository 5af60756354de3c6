"""Whether the plane's workers still turn: what the watchdog is told by.

Owns the judgement alone. A worker writes its sign of life at every turn, of which it makes two a second with nothing to do
(`plane.loop`). Signs are compared with one another and never with a clock, and patience is a number of looks: a clock that is set changes
nothing, and a machine that slept or a process that was stopped is one look later, however long that took.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STILL = 5
"""Looks, a second apart, at which a worker may be where it was: one that waits for a core of a busy machine is no dead one."""
STARTING = 120
"""The same before its first turn, for which it may have code to load or to compile."""


@dataclass(slots=True)
class _Seen:
    sign: int
    turned: bool = False
    same: int = 0
    """Looks in a row at which it was where it had been."""

    @property
    def stands_still(self) -> bool:
        return self.same >= (STILL if self.turned else STARTING)


@dataclass(slots=True)
class Turns:
    """What was seen of each worker, by its number."""

    _seen: dict[int, _Seen] = field(default_factory=dict)

    def look(self, signs: Mapping[int, int]) -> list[int]:
        """The workers that stand still, by number. `signs`: each worker's sign of life as it is now; call it once a second."""
        for number, sign in signs.items():
            seen = self._seen.get(number)
            if seen is None:
                self._seen[number] = _Seen(sign)
            elif seen.sign == sign:
                seen.same += 1
            else:
                self._seen[number] = _Seen(sign, turned=True)
        return [number for number in signs if self._seen[number].stands_still]
