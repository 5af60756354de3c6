"""How this product compiles: two decorators, so that no function forgets a flag, and what stands for both until Numba is needed.

Bounds are checked in production: hostile input meets an IndexError, never memory. Compiled code
holds no GIL and is kept on disk.

Importing Numba takes longer than all else of a start, so nothing imports it before something has
to be compiled. A decorated function is a `Compiled`: called from Python it runs the machine code
kept for its arguments' types (`keptcode`), and only where there is none yet does Numba come in, compile,
and have it kept. Within compiled code a `Compiled` is what Numba makes of the function.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from sekisho.snapshot.keptcode import Kept, Kinds, kinds_of

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in {"", "0"}
"""False where the same source runs as plain Python (NUMBA_DISABLE_JIT=1)."""
_OPTIONS = {"cache": True, "boundscheck": True, "nogil": True}


LOAD_ONLY: ContextVar[bool] = ContextVar("LOAD_ONLY", default=False)
"""Whether a function whose code is not kept raises NotKeptError instead of being compiled, in this process."""


class NotKeptError(Exception):
    """Something would have to be compiled."""


class Compiled:
    """A function that is compiled for each combination of argument types it is called with."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        # Under the names Numba looks for where it puts one function into another.
        self.targetoptions = _OPTIONS | options
        self._ready: dict[Kinds, Callable[..., Any]] = {}

    @functools.cached_property
    def dispatcher(self) -> Any:
        """What Numba makes of the function. Imports Numba."""
        return get_numba().njit(**self.targetoptions)(self.py_func)

    def __call__(self, *args: Any) -> Any:
        kinds = kinds_of(args)
        ready = self._ready.get(kinds) or self._make_ready(kinds, args)
        return ready(*args)

    def _make_ready(self, kinds: Kinds, args: tuple[Any, ...]) -> Callable[..., Any]:
        kept = Kept.of(self.py_func, kinds)
        found = kept and kept.load()
        if not found and LOAD_ONLY.get():
            raise NotKeptError(self.py_func.__qualname__)
        found = found or (kept and kept.make(get_numba(), self.py_func, args))
        self._ready[kinds] = ready = found or self.dispatcher
        return ready


class Declared:
    """Something only Numba can express (an intrinsic, a symbol of libc), in the module that declares it; imported when compiling."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def resolve(self) -> Any:
        return getattr(importlib.import_module(self.module), self.name)


@functools.cache
def get_numba() -> Any:
    """Numba, told what the two classes stand for: for whoever calls compiled functions from functions of their own."""
    # Imported here, which is the point of this module.
    import numba  # noqa: PLC0415
    from numba.core.registry import cpu_target  # noqa: PLC0415
    from numba.extending import typeof_impl  # noqa: PLC0415

    @typeof_impl.register(Compiled)
    def _(value: Compiled, context: Any) -> Any:
        return typeof_impl(value.dispatcher, context)

    @typeof_impl.register(Declared)
    def _(value: Declared, _context: Any) -> Any:
        new = value.module not in sys.modules
        found = value.resolve()
        if new:  # what its module declared a moment ago is not known there yet
            cpu_target.typing_context.refresh()
            cpu_target.target_context.refresh()
        return cpu_target.typing_context.resolve_value_type(found)

    return numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function."""
    return Compiled(function) if COMPILED else function


def inlined(function: Callable[..., Any]) -> Any:
    """For a few lines called with arrays of many types: put into the caller instead of being compiled for each."""
    return Compiled(function, inline="always") if COMPILED else function
