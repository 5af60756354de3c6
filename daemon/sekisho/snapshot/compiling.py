"""How this product compiles: one decorator, so that no function forgets a flag.

Bounds are checked in production: hostile input meets an IndexError, never memory. Compiled code
is cached on disk and holds no GIL.
"""

from __future__ import annotations

from typing import Any

from numba import njit

compiled: Any = njit(cache=True, boundscheck=True, nogil=True)
