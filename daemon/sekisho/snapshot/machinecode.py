"""Machine code in memory: kept files read, object code linked, what it raised told.

Owns the form of a file of machine code and LLVM's part in running it; which code is kept where is
`keptcode`. Imports nothing but the standard library before LLVM is needed, and no NumPy then: a resolver's
process runs the verdict by this module alone (`sekisho.plugin`).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

MAGIC = b"sekisho machine code 1"
_UNUSED = "NRT_MemInfo_call_dtor"
"""Called when the last reference to memory of Numba's own goes: never, where nothing is allocated."""
UNCALLED = frozenset({_UNUSED})
GIVES_NOTHING = -2
"""Status of a function that returned None; 0: another value; anything else: it raised."""
_PICKLED, _LENGTH = 0, 8
"""Where a raised exception is described: a pickle of (class, arguments, place), and its length."""
_ENGINES: list[Any] = []
"""They own the memory the code lies in, for as long as the process lives."""


def pack_code(about: dict[str, Any], code: bytes) -> bytes:
    """The content of a file of machine code: magic, digest, what the code is, the object file LLVM emitted."""
    told = json.dumps(about).encode()
    return b"\n".join((MAGIC, _digest(told, code).encode(), told, code))


def read_code(path: Path) -> tuple[dict[str, Any], bytes] | None:
    """What stands in such a file; None if it is not there or not whole."""
    try:
        magic, digest, told, code = path.read_bytes().split(b"\n", 3)
    except (OSError, ValueError):
        return None
    if magic != MAGIC or digest.decode("ascii", "replace") != _digest(told, code):
        return None
    about: dict[str, Any] = json.loads(told)
    return about, code


def _digest(told: bytes, code: bytes) -> str:
    return hashlib.blake2b(told + b"\n" + code, digest_size=16).hexdigest()


@functools.cache
def processor() -> str:
    """LLVM's version, and the processor with what it can do: code for another is not run."""
    # Imported here, as all of LLVM in this module: reading lists and tables at rest needs none of it.
    import llvmlite.binding as llvm  # noqa: PLC0415

    features = llvm.get_host_cpu_features().flatten()
    return f"{llvm.llvm_version_info} {llvm.get_host_cpu_name()} {features}"


@functools.cache
def _target() -> Any:
    """LLVM, as far as it loads object code."""
    import llvmlite.binding as llvm  # noqa: PLC0415

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.add_symbol(_UNUSED, ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value)
    return llvm.Target.from_default_triple().create_target_machine(jit=True, codemodel="jitdefault")


def link(code: bytes, symbol: str) -> int:
    """The address of a function of an object file, linked into this process."""
    import llvmlite.binding as llvm  # noqa: PLC0415

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    return int(engine.get_function_address(symbol))


def raised_by(described: int | None) -> BaseException:
    """What compiled code raised, from the address it left."""
    if not described:
        return RuntimeError("compiled code failed")
    data = ctypes.c_void_p.from_address(described + _PICKLED).value or 0
    length = ctypes.c_int32.from_address(described + _LENGTH).value
    kind, args, _ = pickle.loads(ctypes.string_at(data, length))  # noqa: S301 - it stands in our own code
    error: BaseException = kind(*(args or ()))
    return error
