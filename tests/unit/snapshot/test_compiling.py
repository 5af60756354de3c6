"""Hostile input - packets, resolvers' answers, feeds, zone transfers - meets bounds checks, wherever it is compiled."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Iterator

import pytest

from sekisho.snapshot.compiling import Compiled

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}, reason="nothing is compiled here")


def compiled_functions() -> Iterator[tuple[str, Compiled]]:
    for package in ("snapshot", "plane", "lists", "drivers"):
        folder = importlib.import_module(f"sekisho.{package}")
        for found in pkgutil.iter_modules(folder.__path__, f"sekisho.{package}."):
            for name, value in vars(importlib.import_module(found.name)).items():
                if isinstance(value, Compiled):
                    yield f"{found.name}.{name}", value


def test_every_compiled_function_checks_its_bounds_and_holds_no_gil() -> None:
    functions = dict(compiled_functions())
    assert len(functions) > 100
    lax = [name for name, one in functions.items() if not is_strict(one.targetoptions)]
    assert lax == []
    assert all(is_strict(functions[name].dispatcher.targetoptions) for name in list(functions)[:3]), "and Numba is told so"


def is_strict(options: dict[str, object]) -> bool:
    return bool(options.get("boundscheck") and options.get("nogil"))
