"""System calls and memory: the one module that knows pointers.

Owns the C functions the packet path calls, unaligned loads and stores, checked copies, and the
atomic update of a token bucket. Compiled, they are libc symbols declared to Numba (which can be
cached on disk, unlike ctypes pointers); uncompiled, ctypes calls the same symbols.

Offsets are in bytes. `copy`, `load64` and the others check their bounds and raise IndexError:
there is no unchecked access from outside.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

from sekisho.snapshot.compiling import COMPILED, compiled, inlined

U64 = np.uint64
MSG_DONTWAIT = 0x40
EAGAIN = 11
CLOCK_REALTIME = 0
CLOCK_MONOTONIC = 1

_libc = ctypes.CDLL(None, use_errno=True)
_BILLION = 1_000_000_000

if COMPILED:
    _recvmmsg = types.ExternalFunction("recvmmsg", types.int32(types.int32, types.voidptr, types.uint32, types.int32, types.intp))
    _sendmmsg = types.ExternalFunction("sendmmsg", types.int32(types.int32, types.voidptr, types.uint32, types.int32))
    _epoll_wait = types.ExternalFunction("epoll_wait", types.int32(types.int32, types.voidptr, types.int32, types.int32))
    _send = types.ExternalFunction("send", types.intp(types.int32, types.voidptr, types.uintp, types.int32))
    _clock = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.voidptr))
    _random = types.ExternalFunction("getrandom", types.intp(types.voidptr, types.uintp, types.uint32))
    _errno = types.ExternalFunction("__errno_location", types.intp())

    @intrinsic
    def _address(typingctx: Any, array: Any, offset: Any) -> Any:
        """Address of the byte `offset` of a one-axis array."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            view = context.make_array(signature.args[0])(context, builder, args[0])
            base = builder.ptrtoint(view.data, cgutils.intp_t)
            return builder.inttoptr(builder.add(base, args[1]), cgutils.voidptr_t)

        return types.voidptr(array, types.intp), codegen

    def _load(width: Any, swap: bool) -> Any:
        @intrinsic
        def load(typingctx: Any, array: Any, offset: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                view = context.make_array(signature.args[0])(context, builder, args[0])
                base = builder.ptrtoint(view.data, cgutils.intp_t)
                kind = context.get_value_type(width)
                pointer = builder.inttoptr(builder.add(base, args[1]), kind.as_pointer())
                value = builder.load(pointer, align=1)
                return builder.bswap(value) if swap else value

            return width(array, types.intp), codegen

        return load

    def _store(width: Any, swap: bool) -> Any:
        @intrinsic
        def store(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                view = context.make_array(signature.args[0])(context, builder, args[0])
                base = builder.ptrtoint(view.data, cgutils.intp_t)
                kind = context.get_value_type(width)
                pointer = builder.inttoptr(builder.add(base, args[1]), kind.as_pointer())
                builder.store(builder.bswap(args[2]) if swap else args[2], pointer, align=1)
                return context.get_dummy_value()

            return types.none(array, types.intp, width), codegen

        return store

    _load16be, _load32be, _load64le = _load(types.uint16, True), _load(types.uint32, True), _load(types.uint64, False)
    _store16be, _store32be, _store64le = _store(types.uint16, True), _store(types.uint32, True), _store(types.uint64, False)

    def _array_at(kind: Any) -> Any:
        """An array over memory that somebody else keeps alive: no reference is counted."""

        @intrinsic
        def view(typingctx: Any, cell: Any) -> Any:
            result = types.Array(kind, 1, "C")

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                pair = context.make_array(signature.args[0])(context, builder, args[0]).data
                address = builder.load(pair)
                length = builder.load(builder.gep(pair, [context.get_constant(types.intp, 1)]))
                width = context.get_abi_sizeof(context.get_value_type(kind))
                made = context.make_array(result)(context, builder)
                item = context.get_constant(types.intp, width)
                arrayobj.populate_array(
                    made,
                    data=builder.inttoptr(address, context.get_value_type(kind).as_pointer()),
                    shape=cgutils.pack_array(builder, [length]),
                    strides=cgutils.pack_array(builder, [item]),
                    itemsize=item,
                    meminfo=None,
                )
                return made._getvalue()  # noqa: SLF001 - Numba's own way

            return result(cell), codegen

        return view

    u8s, u16s, u32s = _array_at(types.uint8), _array_at(types.uint16), _array_at(types.uint32)
    u64s, i64s = _array_at(types.uint64), _array_at(types.int64)

    @intrinsic
    def _prefetch(typingctx: Any, array: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            view = context.make_array(signature.args[0])(context, builder, args[0])
            pointer = builder.bitcast(builder.gep(view.data, [args[1]]), cgutils.voidptr_t)
            word = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, word, word, word])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(function, [pointer, word(0), word(3), word(1)])
            return context.get_dummy_value()

        return types.none(array, types.intp), codegen

    @intrinsic
    def _read_errno(typingctx: Any, location: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = context.get_value_type(types.int32)
            return builder.load(builder.inttoptr(args[0], kind.as_pointer()))

        return types.int32(types.intp), codegen

    @intrinsic
    def _exchange(typingctx: Any, array: Any, index: Any, expected: Any, value: Any) -> Any:
        """Compare and exchange one uint64; returns what stood there."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            view = context.make_array(signature.args[0])(context, builder, args[0])
            pointer = builder.gep(view.data, [args[1]])
            result = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
            return builder.extract_value(result, 0)

        return types.uint64(array, types.intp, types.uint64, types.uint64), codegen

    @intrinsic
    def _copy_bytes(typingctx: Any, to: Any, at: Any, source: Any, start: Any, length: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            target = context.make_array(signature.args[0])(context, builder, args[0])
            origin = context.make_array(signature.args[2])(context, builder, args[2])
            there = builder.gep(target.data, [args[1]])
            here = builder.gep(origin.data, [args[3]])
            cgutils.raw_memmove(builder, there, here, args[4], 1)
            return context.get_dummy_value()

        return types.none(to, types.intp, source, types.intp, types.intp), codegen

else:

    def _pointer(array: Any, offset: int = 0) -> Any:
        return ctypes.c_void_p(array.ctypes.data + int(offset))

    def _recvmmsg(fd: int, messages: Any, count: int, flags: int, timeout: int) -> int:
        return int(_libc.recvmmsg(int(fd), messages, int(count), int(flags), None))

    def _sendmmsg(fd: int, messages: Any, count: int, flags: int) -> int:
        return int(_libc.sendmmsg(int(fd), messages, int(count), int(flags)))

    def _epoll_wait(fd: int, events: Any, count: int, timeout: int) -> int:
        return int(_libc.epoll_wait(int(fd), events, int(count), int(timeout)))

    def _send(fd: int, data: Any, length: int, flags: int) -> int:
        return int(_libc.send(int(fd), data, int(length), int(flags)))

    def _clock(which: int, out: Any) -> int:
        return int(_libc.clock_gettime(int(which), out))

    def _random(out: Any, length: int, flags: int) -> int:
        return int(_libc.getrandom(out, int(length), int(flags)))

    def _errno() -> int:
        return 0

    def _read_errno(location: int) -> int:
        return ctypes.get_errno()

    def _array_at(kind: Any) -> Any:
        def view(cell: Any) -> Any:
            memory = (ctypes.c_uint8 * (int(cell[1]) * np.dtype(kind).itemsize)).from_address(int(cell[0]))
            return np.frombuffer(memory, kind)

        return view

    u8s, u16s, u32s = _array_at(np.uint8), _array_at(np.uint16), _array_at(np.uint32)
    u64s, i64s = _array_at(np.uint64), _array_at(np.int64)

    _address = _pointer

    def _load16be(array: Any, offset: int) -> int:
        return int.from_bytes(bytes(array[offset : offset + 2]), "big")

    def _load32be(array: Any, offset: int) -> int:
        return int.from_bytes(bytes(array[offset : offset + 4]), "big")

    def _load64le(array: Any, offset: int) -> Any:
        return U64(int.from_bytes(bytes(array[offset : offset + 8]), "little"))

    def _store16be(array: Any, offset: int, value: int) -> None:
        array[offset : offset + 2] = list(int(value).to_bytes(2, "big"))

    def _store32be(array: Any, offset: int, value: int) -> None:
        array[offset : offset + 4] = list(int(value).to_bytes(4, "big"))

    def _store64le(array: Any, offset: int, value: Any) -> None:
        array[offset : offset + 8] = list(int(value).to_bytes(8, "little"))

    def _exchange(array: Any, index: int, expected: Any, value: Any) -> Any:
        found = array[index]
        if found == expected:
            array[index] = value
        return found

    def _prefetch(array: Any, index: int) -> None:
        pass

    def _copy_bytes(to: Any, at: int, source: Any, start: int, length: int) -> None:
        to[at : at + length] = source[start : start + length].copy()


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
