"""Which row of the customers' table is whose: a customer keeps its row for as long as the runtime folder lives.

Over restarts of the control plane too, so what the plane counted by row keeps its meaning. Owns the numbers, not
what is in the rows (`drivers.customerstable`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.maps import names_in
from sekisho.snapshot import layout
from sekisho.snapshot.sections import Array


class RowNumbers:
    """The rows given out. None of them ever becomes another customer's."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        """Every id that ever had a row, and its row, in the order they were given out."""
        self.next = layout.ALLOWED + 1
        """The row that is given out next: what lies before it is in use."""

    def recall(self, arrays: dict[str, Array]) -> None:
        """Take over the rows an earlier control plane gave out, from the table it left."""
        spans = arrays["spans"]
        rows = np.flatnonzero(spans[:, 1])
        self.rows = dict(zip(names_in(arrays["identities"], spans[rows]), rows.tolist(), strict=True))
        self.next = int(arrays["used"][0])

    def of(self, name: str) -> int:
        """The row of an id; a new one if it has none."""
        if name not in self.rows:
            self.rows[name] = self.next
            self.next += 1
        return self.rows[name]

    def of_all(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The rows of many ids, in their order."""
        if not self.rows:
            self.rows = dict(zip(names, range(self.next, self.next + len(names)), strict=True))
            self.next += len(names)
        return np.fromiter(map(self.of, names), np.int64, len(names))
