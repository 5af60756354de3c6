"""What only Numba can express: system calls and memory, as intrinsics and declared symbols of libc.

Owns no check: `native` checks bounds before it calls any of these, and nobody else does. libc's symbols are
declared to Numba, which can be kept on disk, unlike ctypes pointers. Imported when something is compiled.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

recvmmsg = types.ExternalFunction("recvmmsg", types.int32(types.int32, types.voidptr, types.uint32, types.int32, types.intp))
sendmmsg = types.ExternalFunction("sendmmsg", types.int32(types.int32, types.voidptr, types.uint32, types.int32))
epoll_wait = types.ExternalFunction("epoll_wait", types.int32(types.int32, types.voidptr, types.int32, types.int32))
send = types.ExternalFunction("send", types.intp(types.int32, types.voidptr, types.uintp, types.int32))
clock = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.voidptr))
random = types.ExternalFunction("getrandom", types.intp(types.voidptr, types.uintp, types.uint32))
errno = types.ExternalFunction("__errno_location", types.intp())


@intrinsic
def address(typingctx: Any, array: Any, offset: Any) -> Any:
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


load16be, load32be, load64le = _load(types.uint16, True), _load(types.uint32, True), _load(types.uint64, False)
store16be, store32be, store64le = _store(types.uint16, True), _store(types.uint32, True), _store(types.uint64, False)


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
def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
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
def read_errno(typingctx: Any, location: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(types.int32)
        return builder.load(builder.inttoptr(args[0], kind.as_pointer()))

    return types.int32(types.intp), codegen


@intrinsic
def exchange(typingctx: Any, array: Any, index: Any, expected: Any, value: Any) -> Any:
    """Compare and exchange one uint64; returns what stood there."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = builder.gep(view.data, [args[1]])
        result = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(result, 0)

    return types.uint64(array, types.intp, types.uint64, types.uint64), codegen


@intrinsic
def copy_bytes(typingctx: Any, to: Any, at: Any, source: Any, start: Any, length: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = context.make_array(signature.args[0])(context, builder, args[0])
        origin = context.make_array(signature.args[2])(context, builder, args[2])
        there = builder.gep(target.data, [args[1]])
        here = builder.gep(origin.data, [args[3]])
        cgutils.raw_memmove(builder, there, here, args[4], 1)
        return context.get_dummy_value()

    return types.none(to, types.intp, source, types.intp, types.intp), codegen
