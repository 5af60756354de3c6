"""Machine code that Numba made, kept on disk and called without Numba.

Owns the key under which code is found again, and the calls; the form of the files and LLVM's part are
`machinecode`. A file holds one function, compiled for arguments of certain types, as the object file LLVM
emitted, with the name of its symbol and the type of its result. It is used only by the same sources, the same
Numba and LLVM on the same kind of processor, and only if it is whole; otherwise it is made anew.

What such a function may be: it takes integers, booleans, records, tuples of integers and contiguous
aligned arrays; it gives nothing, an integer, a boolean or a tuple of integers; and it calls
nothing but libc, so it allocates nothing. Any other is left to Numba's own cache.

Calling convention (numba.core.callconv): `status f(result *, exception **, arguments...)`, an array
as seven words and more: owner, parent, items, bytes of an item, data, then its shape and its strides.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sekisho.snapshot.machinecode import GIVES_NOTHING, UNCALLED, link, pack_code, processor, raised_by, read_code

Kinds = tuple[Any, ...]
"""The types of a call's arguments, as far as machine code differs by them."""

VARIABLE = "SEKISHO_CODE_DIR"
"""The folder code is kept in, which belongs to one version of the sources; not set: code is kept nowhere."""
_WIDTHS: dict[str, Any] = {"int64": ctypes.c_int64, "uint64": ctypes.c_uint64, "bool": ctypes.c_bool}
_SCALARS = {bool: "bool", np.bool_: "bool", np.int64: "int64", np.uint64: "uint64"}


class UnkeepableError(Exception):
    """The function needs more than libc, or a type that is not passed here."""


def kinds_of(args: tuple[Any, ...]) -> Kinds:
    """The types of these arguments; an unhashable or unknown one by its class."""
    return tuple([_kind_of(one) for one in args])


def _kind_of(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        flags = value.flags
        return value.dtype, value.ndim, flags.c_contiguous and flags.aligned, flags.writeable
    kind = type(value)
    if kind is int:
        return "int64" if -(1 << 63) <= value < 1 << 63 else "uint64"
    if isinstance(value, np.void):
        return value.dtype
    if kind is tuple:
        return ("tuple", *kinds_of(value))
    return _SCALARS.get(kind, kind)


def _spelt(kind: Any) -> str:
    """A kind in words that are the same in every process. Raises UnkeepableError."""
    if isinstance(kind, str):
        return kind
    if isinstance(kind, np.dtype):
        return repr(kind.descr) + str(kind.itemsize)
    if isinstance(kind, tuple) and kind[:1] == ("tuple",):
        return f"({','.join(map(_spelt, kind[1:]))})"
    if isinstance(kind, tuple) and kind[2]:
        return f"{_spelt(kind[0])}[{kind[1]}]{'' if kind[3] else ' readonly'}"
    raise UnkeepableError(str(kind))


def _flatten(value: Any) -> Iterator[Any]:
    """The words a value is passed as."""
    if isinstance(value, np.ndarray):
        yield from (None, None, value.size, value.itemsize, value.__array_interface__["data"][0], *value.shape, *value.strides)
    elif isinstance(value, np.void):
        yield np.frombuffer(value, np.uint8).__array_interface__["data"][0]
    elif isinstance(value, tuple):
        for one in value:
            yield from _flatten(one)
    else:
        yield int(value)


def _passed_as(kind: Any) -> Iterator[Any]:
    """The C types of those words."""
    if isinstance(kind, np.dtype):
        yield ctypes.c_void_p
    elif isinstance(kind, str):
        yield ctypes.c_uint8 if kind == "bool" else _WIDTHS[kind]
    elif kind[0] == "tuple":
        for one in kind[1:]:
            yield from _passed_as(one)
    else:
        yield from (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
        yield from [ctypes.c_int64] * (2 * kind[1])


@dataclass(frozen=True, slots=True)
class Kept:
    """The code of one function for arguments of certain types, in its file."""

    path: Path
    kinds: Kinds

    @classmethod
    def of(cls, function: Callable[..., Any], kinds: Kinds) -> Kept | None:
        """None if code is kept nowhere or this cannot be."""
        folder = os.environ.get(VARIABLE)
        if not folder:
            return None
        try:
            spelt = ",".join(map(_spelt, kinds))
        except UnkeepableError:
            return None
        name = f"{function.__module__}.{function.__qualname__}"
        digest = hashlib.blake2b(f"{name}({spelt}) {_machine()}".encode(), digest_size=8).hexdigest()
        return cls(Path(folder) / f"{name.rpartition('.')[2]}-{digest}.code", kinds)

    def load(self) -> Callable[..., Any] | None:
        """The function, if its file is there and whole."""
        found = read_code(self.path)
        if found is None:
            return None
        told, code = found
        return _caller(link(code, told["symbol"]), self.kinds, told["result"])

    def make(self, numba: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[..., Any] | None:
        """Compile the function for arguments like these and keep it; None if it is not to be kept."""
        try:
            symbol, result, code = _compile(numba, function, args)
        except UnkeepableError:
            return None
        # Where it cannot be written it runs all the same, and is made again by the next process.
        with contextlib.suppress(OSError):
            self._write(symbol, result, code)
        return _caller(link(code, symbol), self.kinds, result)

    def _write(self, symbol: str, result: list[str], code: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=".", delete=False) as file:
            try:
                file.write(pack_code({"symbol": symbol, "result": result}, code))
                file.flush()
                Path(file.name).replace(self.path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


@functools.cache
def _machine() -> str:
    """What else machine code depends on."""
    # Asked without importing it.
    found = importlib.util.find_spec("numba")
    version = Path(found.origin).with_name("_version.py") if found and found.origin else None
    numba = hashlib.blake2b(version.read_bytes() if version else b"").hexdigest()
    return f"{numba} {processor()}"


def _compile(numba: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, list[str], bytes]:
    """Symbol, words of the result, object code. Raises UnkeepableError, and what Numba raises."""
    flags = numba.core.compiler.Flags()
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.boundscheck = flags.release_gil = flags.nrt = True
    target = numba.core.registry.cpu_target
    types = tuple(numba.typeof(one) for one in args)
    made = numba.core.compiler.compile_extra(target.typing_context, target.target_context, function, types, None, flags, {})
    result = made.signature.return_type
    words = [] if result is numba.none else [str(one) for one in (result if isinstance(result, numba.types.BaseTuple) else [result])]
    if not set(words) <= set(_WIDTHS) or (isinstance(result, numba.types.BaseTuple) and "bool" in words):
        raise UnkeepableError(str(result))
    needed = set(re.findall(r'^declare [^@]*@"?([^"(]+)"?\(', made.library.get_llvm_str(), re.MULTILINE))
    libc = ctypes.CDLL(None)
    if any(not name.startswith("llvm.") and name not in UNCALLED and not hasattr(libc, name) for name in needed):
        raise UnkeepableError(", ".join(needed))
    # A tuple of one integer differs from an integer.
    shape = ["tuple", *words] if isinstance(result, numba.types.BaseTuple) else words
    return made.fndesc.llvm_func_name, shape, made.library._get_compiled_object()  # noqa: SLF001 - Numba tells it nobody else


def _caller(address: int, kinds: Kinds, shape: list[str]) -> Callable[..., Any]:
    """Python's way into the code at `address`."""
    words = [_WIDTHS[one] for one in shape if one != "tuple"]
    parameters = [ctypes.c_void_p, ctypes.c_void_p]
    for kind in kinds:
        parameters += _passed_as(kind)
    enter = ctypes.CFUNCTYPE(ctypes.c_int32, *parameters)(address)
    result_of = (ctypes.c_uint64 if words == [ctypes.c_uint64] else ctypes.c_int64) * max(1, len(words))

    def call(*args: Any) -> Any:
        result, raised = result_of(), ctypes.c_void_p()
        passed: list[Any] = []
        for one in args:
            passed += _flatten(one)
        status = enter(ctypes.addressof(result), ctypes.addressof(raised), *passed)
        if status not in {0, GIVES_NOTHING}:
            raise raised_by(raised.value)
        if not words:
            return None
        if shape[0] == "tuple":
            return tuple(kind(word).value for kind, word in zip(words, result, strict=True))
        return bool(result[0] & 0xFF) if shape == ["bool"] else result[0]

    return call
