"""Blocks of ports that NASes allocated by an event, which each takes back by another: when they were last told of.

Of each NAS in the order of that, so that finding those that are too old costs what there is to be found, with a million blocks as with a
few. Does not own who holds what (`holders`).
"""

from __future__ import annotations

from sekisho.model.sessions import Share


class Allocated:
    """By the number of the NAS; a block is the row of its session and the part of the address."""

    def __init__(self) -> None:
        self._of: dict[int, dict[tuple[int, Share], float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def blocks(self) -> list[tuple[int, Share]]:
        """All of them."""
        return [block for blocks in self._of.values() for block in blocks]

    def told(self, nas: int, row: int, share: Share) -> float | None:
        """When a block was told of last, in UNIX seconds; None: it was not allocated by an event."""
        return self._of.get(nas, {}).get((row, share))

    def put(self, nas: int, row: int, share: Share, at: float) -> None:
        """A block is allocated, or told of once more. The latest comes last, or nearly, where events are told late."""
        blocks = self._of.setdefault(nas, {})
        blocks.pop((row, share), None)
        blocks[row, share] = at

    def drop(self, nas: int, row: int, share: Share) -> None:
        """A block is given back, or was never allocated by an event."""
        self._of.get(nas, {}).pop((row, share), None)

    def order(self) -> None:
        """Bring what was put in any order into its own."""
        self._of = {nas: dict(sorted(blocks.items(), key=lambda one: one[1])) for nas, blocks in self._of.items()}

    def before(self, nas: int, at: float) -> list[tuple[int, Share]]:
        """The blocks of a NAS that were last told of before a time, up to the first that was not."""
        found = []
        for block, told in self._of.get(nas, {}).items():
            if told >= at:
                break
            found.append(block)
        return found
