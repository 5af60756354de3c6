"""Big-endian numbers in packets. Every index is checked: what lies outside is an IndexError."""

from __future__ import annotations

import numpy as np

from sekisho.flows.layout import U64
from sekisho.snapshot.compiling import compiled

_EIGHT = U64(8)


@compiled
def be16(data, at):  # type: ignore[no-untyped-def]
    return np.int64(data[at]) << 8 | np.int64(data[at + 1])


@compiled
def be32(data, at):  # type: ignore[no-untyped-def]
    return np.int64(data[at]) << 24 | np.int64(data[at + 1]) << 16 | np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])


@compiled
def number(data, at, length):  # type: ignore[no-untyped-def]
    """A number of `length` octets (RFC 7011, section 6.2: fewer than its type has); of more than eight, 0."""
    value = U64(0)
    if length > 8:
        return value
    for index in range(at, at + length):
        value = value << _EIGHT | U64(data[index])
    return value
