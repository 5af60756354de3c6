"""How this product compiles: two decorators, so that no function forgets a flag.

Bounds are checked in production: hostile input meets an IndexError, never memory. Compiled code
is cached on disk and holds no GIL.
"""

from __future__ import annotations

from typing import Any

from numba import config, njit

COMPILED = not config.DISABLE_JIT
"""False where the same source runs as plain Python (NUMBA_DISABLE_JIT=1)."""

compiled: Any = njit(cache=True, boundscheck=True, nogil=True)

inlined: Any = njit(cache=True, boundscheck=True, nogil=True, inline="always")
"""For a few lines called with arrays of many types: put into the caller instead of being compiled for each."""
