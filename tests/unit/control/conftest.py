"""Fixtures of the control plane's tests."""

from __future__ import annotations

import pytest

from sekisho.drivers.feeds import Feeds
from sekisho.drivers.listsources import obtain
from unit.control.sites import Folder


@pytest.fixture
def folder(tmp_path):
    """The files of a small site."""
    return Folder(tmp_path)


class Within:
    """Sealed lists compiled in the process of the tests."""

    async def obtain(self, order):
        async with Feeds() as feeds:
            return await obtain(order, feeds)


@pytest.fixture(autouse=True)
def _sealed_lists(request, monkeypatch):
    """Most tests here are of what a sealed list does and not of where it is compiled, which takes a second each time."""
    if "own_process" not in request.fixturenames:
        monkeypatch.setattr("sekisho.drivers.liststore.SealedLists", Within)


@pytest.fixture
def own_process():
    """Have sealed lists compiled in a process of their own, as they are outside of tests."""
