"""Whether a folder takes anything, by what its file system says to a page that nobody will see."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sekisho.drivers.room import trouble


def test_a_folder_that_takes_something_is_no_trouble_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    assert trouble(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    assert "put it back" in (trouble(tmp_path / "gone") or "")


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EROFS, "read-only"), (errno.ENOSPC, "no room left; make"), (errno.EDQUOT, "quota"), (errno.EIO, "put it back")],
)
def test_what_a_write_meets_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    def write(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", write)
    assert words in (trouble(tmp_path) or "")


def test_a_file_system_without_files_that_have_no_name_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "open", refuse)
    assert trouble(tmp_path) is None
