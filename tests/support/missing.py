"""What a test does where the machine has not what it needs: elsewhere it is skipped, in CI it fails."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NoReturn

import pytest

_TRUE = frozenset({"1", "true", "yes"})


def in_ci(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether CI is set to something true, in whatever case."""
    return environ.get("CI", "").strip().lower() in _TRUE


def skip_or_fail(reason: str, environ: Mapping[str, str] = os.environ) -> NoReturn:
    if in_ci(environ):
        pytest.fail(f"{reason} (CI is set: what is missing is a failure)", pytrace=False)
    pytest.skip(reason)
