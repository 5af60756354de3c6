"""Prefixes of customers added at run time, indexed so that an overlap is found without a walk.

Prefixes nest or are apart: one that overlaps another holds it or is held by it. Those that hold are
found by cutting the prefix to each length there is, those that are held by order of address.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable

from sekisho.model.customers import Prefix


class PrefixIndex:
    """Which customer holds which prefix."""

    def __init__(self) -> None:
        self._owners: dict[Prefix, str] = {}
        self._lengths: Counter[int] = Counter()
        self._sorted: list[Prefix] = []

    def add(self, prefixes: Iterable[Prefix], owner: str) -> None:
        for prefix in prefixes:
            if prefix not in self._owners:
                self._lengths[prefix.length] += 1
                bisect.insort(self._sorted, prefix)
            self._owners[prefix] = owner

    def remove(self, prefixes: Iterable[Prefix]) -> None:
        for prefix in prefixes:
            if self._owners.pop(prefix, None) is not None:
                self._lengths[prefix.length] -= 1
                del self._sorted[bisect.bisect_left(self._sorted, prefix)]

    def exact(self, prefix: Prefix) -> str | None:
        """Whose a prefix is, as a whole and no part of a larger one."""
        return self._owners.get(prefix)

    def owner(self, address: Prefix) -> str | None:
        """Whose prefix holds an address (a prefix of full length)."""
        found = self.overlap(address, "")
        return found[1] if found is not None else None

    def overlap(self, prefix: Prefix, but: str) -> tuple[Prefix, str] | None:
        """A prefix of a customer other than `but` that overlaps `prefix`, and whose it is; or None."""
        for length, count in self._lengths.items():
            if count and length <= prefix.length:
                shift = 128 - length
                outer = Prefix(prefix.value >> shift << shift, length)
                owner = self._owners.get(outer)
                if owner is not None and owner != but:
                    return outer, owner
        end = prefix.value + (1 << (128 - prefix.length))
        for index in range(bisect.bisect_left(self._sorted, prefix), len(self._sorted)):
            inner = self._sorted[index]
            if inner.value >= end:
                break
            if self._owners[inner] != but:
                return inner, self._owners[inner]
        return None
