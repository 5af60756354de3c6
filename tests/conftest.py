"""Set-up of every test: the compile cache, Hypothesis, and the shared helpers as fixtures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import support
from sekisho.drivers.compilecache import use_compile_cache

ROOT = Path(__file__).resolve().parent.parent

# Numba reads this at its first import, which is a test module's: so it is set before them.
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".cache" / "numba"))
use_compile_cache()

# Uncompiled, 64-bit arithmetic that wraps, as hashes do, makes NumPy warn; compiled it never does.
if os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}:
    np.seterr(over="ignore")

# The first example may compile a function, and the machine may be busy: no deadline, few examples.
settings.register_profile("default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def require_binary() -> Callable[..., str]:
    """`require_binary("unbound")`: its path, else skip (in CI: fail)."""
    return support.require_binary


@pytest.fixture(scope="session")
def free_port() -> Callable[..., int]:
    """`free_port("127.0.0.1")`: a port free for UDP and TCP."""
    return support.free_port


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., Any]:
    """`wait_until(condition, deadline)`: poll until it holds; AssertionError past the deadline."""
    return support.wait_until
