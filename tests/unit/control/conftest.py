"""Fixtures of the control plane's tests."""

from __future__ import annotations

import pytest

from unit.control.sites import Folder


@pytest.fixture
def folder(tmp_path):
    """The files of a small site."""
    return Folder(tmp_path)
