"""The same system calls and memory accesses as plain Python, where the packet path runs uncompiled (NUMBA_DISABLE_JIT=1)."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)


def _pointer(array: Any, offset: int = 0) -> Any:
    return ctypes.c_void_p(array.ctypes.data + int(offset))


def recvmmsg(fd: int, messages: Any, count: int, flags: int, timeout: int) -> int:
    return int(_libc.recvmmsg(int(fd), messages, int(count), int(flags), None))


def sendmmsg(fd: int, messages: Any, count: int, flags: int) -> int:
    return int(_libc.sendmmsg(int(fd), messages, int(count), int(flags)))


def epoll_wait(fd: int, events: Any, count: int, timeout: int) -> int:
    return int(_libc.epoll_wait(int(fd), events, int(count), int(timeout)))


def send(fd: int, data: Any, length: int, flags: int) -> int:
    return int(_libc.send(int(fd), data, int(length), int(flags)))


def clock(which: int, out: Any) -> int:
    return int(_libc.clock_gettime(int(which), out))


def random(out: Any, length: int, flags: int) -> int:
    return int(_libc.getrandom(out, int(length), int(flags)))


def errno() -> int:
    return 0


def read_errno(location: int) -> int:
    return ctypes.get_errno()


def _array_at(kind: Any) -> Any:
    def view(cell: Any) -> Any:
        memory = (ctypes.c_uint8 * (int(cell[1]) * np.dtype(kind).itemsize)).from_address(int(cell[0]))
        return np.frombuffer(memory, kind)

    return view


u8s, u16s, u32s = _array_at(np.uint8), _array_at(np.uint16), _array_at(np.uint32)
u64s, i64s = _array_at(np.uint64), _array_at(np.int64)

address = _pointer


def load16be(array: Any, offset: int) -> int:
    return int.from_bytes(bytes(array[offset : offset + 2]), "big")


def load32be(array: Any, offset: int) -> int:
    return int.from_bytes(bytes(array[offset : offset + 4]), "big")


def load64le(array: Any, offset: int) -> Any:
    return np.uint64(int.from_bytes(bytes(array[offset : offset + 8]), "little"))


def store16be(array: Any, offset: int, value: int) -> None:
    array[offset : offset + 2] = list(int(value).to_bytes(2, "big"))


def store32be(array: Any, offset: int, value: int) -> None:
    array[offset : offset + 4] = list(int(value).to_bytes(4, "big"))


def store64le(array: Any, offset: int, value: Any) -> None:
    array[offset : offset + 8] = list(int(value).to_bytes(8, "little"))


def exchange(array: Any, index: int, expected: Any, value: Any) -> Any:
    found = array[index]
    if found == expected:
        array[index] = value
    return found


def prefetch(array: Any, index: int) -> None:
    pass


def copy_bytes(to: Any, at: int, source: Any, start: int, length: int) -> None:
    to[at : at + length] = source[start : start + length].copy()
