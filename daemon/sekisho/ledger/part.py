"""What the state is made of: parts, each with a name, a fold of its own and a form on disk.

A part takes in the acts it names. Added to `state.PARTS`, it is folded, kept in the checkpoint and
read back with the others; nothing else has to know it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self

from sekisho.ledger.retention import Subject
from sekisho.model.events import Act, RecordedAct

Chunk = Any
"""A JSON value of a part's dump. Chunks are written and read one at a time: a thousand rows make a good one."""

ROWS = 1000


class Part:
    """One part of the state. `version` goes up when what `dump` gives, or what an act amounts to, changes:
    a checkpoint of another version is not read, and the ledger is folded anew.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    acts: ClassVar[tuple[type[Act], ...]]
    """The acts it takes in; others are not shown to it."""

    def apply(self, recorded: RecordedAct) -> None:
        """Take in the next act."""
        raise NotImplementedError

    def dump(self) -> Iterator[Chunk]:
        """What is to be kept, in chunks. Called on a copy, in another thread."""
        raise NotImplementedError

    def load(self, chunks: Iterable[Chunk]) -> None:
        """Take in what `dump` gave, a few chunks at a time, in order. Raises KeyError, TypeError or ValueError for anything else."""
        raise NotImplementedError

    def forget(self, subject: Subject) -> None:
        """Let go of what the acts about `subject` said: their content was erased, and the next fold will not see it.

        Called for subjects that are over (`retention.Rule`) alone. A part that keeps nothing of
        what is over has nothing to do.
        """

    def copy(self) -> Self:
        """As it is now, whatever is applied afterwards. On the event loop: a part that grows large shares what it never
        changes in place.
        """
        return copy.deepcopy(self)


def in_chunks(rows: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    """Rows in lists of at most `ROWS`."""
    chunk: list[Chunk] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
