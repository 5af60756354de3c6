"""Namespaces for each file of tests, where there may be any."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import netns


@pytest.fixture(scope="module")
def field() -> Iterator[netns.Field]:
    netns.require_root()
    with netns.field() as one:
        yield one
