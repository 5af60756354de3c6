"""System calls and memory: the one module that knows pointers.

Owns the C functions the packet path calls, unaligned loads and stores, checked copies, and the
atomic update of a token bucket. What they rest on is `intrinsics`, or `uncompiled` where the same
source runs as plain Python.

Offsets are in bytes. `copy`, `load64` and the others check their bounds and raise IndexError:
there is no unchecked access from outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sekisho.plane import uncompiled
from sekisho.snapshot.compiling import COMPILED, Declared, compiled, inlined

U64 = np.uint64
MSG_DONTWAIT = 0x40
EAGAIN = 11
CLOCK_REALTIME = 0
CLOCK_MONOTONIC = 1

_BILLION = 1_000_000_000


def _expressed(name: str) -> Any:
    """What only Numba can express, or the same as plain Python."""
    return Declared("sekisho.plane.intrinsics", name) if COMPILED else getattr(uncompiled, name)


_recvmmsg, _sendmmsg, _send = _expressed("recvmmsg"), _expressed("sendmmsg"), _expressed("send")
_epoll_wait, _clock, _random = _expressed("epoll_wait"), _expressed("clock"), _expressed("random")
_errno, _read_errno = _expressed("errno"), _expressed("read_errno")
_load16be, _load32be, _load64le = _expressed("load16be"), _expressed("load32be"), _expressed("load64le")
_store16be, _store32be, _store64le = _expressed("store16be"), _expressed("store32be"), _expressed("store64le")
_address, _copy_bytes = _expressed("address"), _expressed("copy_bytes")
_exchange, _prefetch = _expressed("exchange"), _expressed("prefetch")
u8s, u16s, u32s = _expressed("u8s"), _expressed("u16s"), _expressed("u32s")
u64s, i64s = _expressed("u64s"), _expressed("i64s")
"""Arrays over memory that somebody else keeps alive, from a view's (address, length)."""


@inlined
def get16(array, offset):  # type: ignore[no-untyped-def]
    """Read a big-endian 16-bit number as int64."""
    if offset < 0 or offset + 2 > array.shape[0]:
        raise IndexError
    return np.int64(_load16be(array, offset))


@inlined
def get32(array, offset):  # type: ignore[no-untyped-def]
    """Read a big-endian 32-bit number as int64."""
    if offset < 0 or offset + 4 > array.shape[0]:
        raise IndexError
    return np.int64(_load32be(array, offset))


@inlined
def put16(array, offset, value):  # type: ignore[no-untyped-def]
    """Write a big-endian 16-bit number."""
    if offset < 0 or offset + 2 > array.shape[0]:
        raise IndexError
    _store16be(array, offset, np.uint16(value))


@inlined
def put32(array, offset, value):  # type: ignore[no-untyped-def]
    """Write a big-endian 32-bit number."""
    if offset < 0 or offset + 4 > array.shape[0]:
        raise IndexError
    _store32be(array, offset, np.uint32(value))


@inlined
def load64(array, offset):  # type: ignore[no-untyped-def]
    """Read eight bytes as a little-endian uint64."""
    if offset < 0 or offset + 8 > array.shape[0]:
        raise IndexError
    return _load64le(array, offset)


@inlined
def store64(array, offset, value):  # type: ignore[no-untyped-def]
    """Write eight bytes, little-endian."""
    if offset < 0 or offset + 8 > array.shape[0]:
        raise IndexError
    _store64le(array, offset, value)


@inlined
def copy(to, at, source, start, length):  # type: ignore[no-untyped-def]
    """Copy `length` bytes between uint8 arrays; the ranges may overlap."""
    if length < 0 or at < 0 or start < 0 or at + length > to.shape[0] or start + length > source.shape[0]:
        raise IndexError
    if length > 0:
        _copy_bytes(to, at, source, start, length)


@inlined
def prefetch(array, index):  # type: ignore[no-untyped-def]
    """Have the cache line of `array[index]` fetched, if there is such a place; nothing waits for it."""
    if 0 <= index < array.shape[0]:
        _prefetch(array, index)


@inlined
def exchange(array, index, expected, value):  # type: ignore[no-untyped-def]
    """Replace `array[index]` (uint64) by `value` if it is `expected`; returns what stood there."""
    if index < 0 or index >= array.shape[0]:
        raise IndexError
    return _exchange(array, index, expected, value)


@compiled
def receive(fd, messages, count):  # type: ignore[no-untyped-def]
    """recvmmsg(2) without waiting; -errno on failure. `messages` int64 (n, 8)."""
    if count > messages.shape[0]:
        raise IndexError
    got = _recvmmsg(fd, _address(messages, 0), count, MSG_DONTWAIT, 0)
    return np.int64(got) if got >= 0 else -np.int64(_read_errno(_errno()))


@compiled
def transmit(fd, messages, first, count):  # type: ignore[no-untyped-def]
    """sendmmsg(2) of rows `first` on, without waiting; -errno on failure. `messages` int64 (n, 8)."""
    if first < 0 or count < 0 or first + count > messages.shape[0]:
        raise IndexError
    sent = _sendmmsg(fd, _address(messages, first * 64), count, MSG_DONTWAIT)
    return np.int64(sent) if sent >= 0 else -np.int64(_read_errno(_errno()))


@compiled
def send(fd, data, offset, length):  # type: ignore[no-untyped-def]
    """Hand bytes to a connected socket, without waiting; -errno on failure."""
    if offset < 0 or length < 0 or offset + length > data.shape[0]:
        raise IndexError
    sent = _send(fd, _address(data, offset), length, MSG_DONTWAIT)
    return np.int64(sent) if sent >= 0 else -np.int64(_read_errno(_errno()))


@compiled
def wait(fd, events, count, timeout):  # type: ignore[no-untyped-def]
    """epoll_wait(2), `timeout` in milliseconds. `events` uint8 (12 bytes an event)."""
    if count * 12 > events.shape[0]:
        raise IndexError
    return np.int64(_epoll_wait(fd, _address(events, 0), count, timeout))


@compiled
def clock(which, scratch):  # type: ignore[no-untyped-def]
    """Nanoseconds of a clock; `scratch` int64 (2)."""
    if scratch.shape[0] < 2:
        raise IndexError
    _clock(which, _address(scratch, 0))
    return scratch[0] * _BILLION + scratch[1]


@compiled
def refill(pool):  # type: ignore[no-untyped-def]
    """Fill a uint8 array (at most 256 bytes are promised whole) with random bytes from the kernel."""
    return np.int64(_random(_address(pool, 0), pool.shape[0], 0))
