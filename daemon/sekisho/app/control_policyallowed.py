"""What is let through of the networks of `allow:` in policy zones: all but the addresses of customers, who have terms.

On the plane a customer's longer prefix comes before the network around it. A policy zone has no word for "not this one", so the
network is published in the parts that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sekisho.config.overlaps import Words
from sekisho.drivers.tablerows import is_within
from sekisho.model.customers import Prefix

MOST = 2000
"""Customers' prefixes that are left out of the networks; with more of them they are published whole."""


_WORD = 64


class Allowed:
    """The networks, and who of the customers has addresses in them."""

    def __init__(self, networks: Sequence[Prefix] = ()) -> None:
        self.networks = tuple(networks)
        self.inside = 0
        """Prefixes of customers in the networks."""
        self.changed = True
        """What is left is another than when `left` was asked last."""
        self._of: dict[str, tuple[Prefix, ...]] = {}

    def put(self, customer: str, prefixes: Sequence[Prefix]) -> None:
        """A customer's addresses as they are now."""
        if not self.networks:
            return
        found, before = tuple(one for one in prefixes if is_within(one, self.networks)), self._of.get(customer, ())
        if found == before:
            return
        self.changed = True
        self.inside += len(found) - len(before)
        if found:
            self._of[customer] = found
        else:
            del self._of[customer]

    def left(self) -> tuple[Prefix, ...]:
        """The networks without customers' addresses."""
        self.changed = False
        if self.is_crowded:
            return self.networks
        customers = sorted({one for some in self._of.values() for one in some})
        return tuple(dict.fromkeys(part for network in self.networks for part in _outside(network, customers)))

    @property
    def is_crowded(self) -> bool:
        """There are too many customers in the networks: they are let through with them."""
        return self.inside > MOST


def held_by(network: Prefix, high: Words, low: Words, lengths: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which prefixes, by high and low words and lengths, lie in a network."""
    top, bottom, length = network.value >> _WORD, network.value & (1 << _WORD) - 1, network.length
    same: NDArray[np.bool_] = lengths >= length
    if length > _WORD:
        same = same & (high == np.uint64(top)) & (low >> np.uint64(128 - length) == np.uint64(bottom >> (128 - length)))
    elif length:
        same = same & (high >> np.uint64(_WORD - length) == np.uint64(top >> (_WORD - length)))
    return same


def _outside(network: Prefix, customers: Sequence[Prefix]) -> Iterator[Prefix]:
    """A prefix without others, as few prefixes."""
    if is_within(network, customers):
        return
    inside = [one for one in customers if is_within(one, [network])]
    if not inside:
        yield network
        return
    half = network.length + 1
    for value in (network.value, network.value | 1 << (128 - half)):
        yield from _outside(Prefix(value, half), inside)
