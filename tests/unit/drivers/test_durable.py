"""Files written aside and renamed, and files read, in folders into which others may write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekisho.drivers.durable import open_plain, write_file
from sekisho.drivers.sharedfiles import HEAD, create_table, map_table
from sekisho.model.errors import TableError
from sekisho.snapshot.sections import Kind
from support.waiting import end_of_waiting


@pytest.fixture
def aside(tmp_path: Path) -> Path:
    """Where `head` is written before it is renamed."""
    return tmp_path / f".head.{os.getpid()}"


def test_a_link_laid_where_a_file_is_written_aside_has_nothing_written_through_it(tmp_path: Path, aside: Path) -> None:
    ledger = tmp_path / "ledger.db"
    ledger.write_bytes(b"acts")
    for lay in (aside.symlink_to, aside.hardlink_to):
        lay(ledger)
        write_file(tmp_path / "head", b"table")
        assert (ledger.read_bytes(), (tmp_path / "head").read_bytes()) == (b"acts", b"table")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head", "ledger.db"]


def test_a_pipe_laid_there_keeps_no_writer_waiting(tmp_path: Path, aside: Path) -> None:
    os.mkfifo(aside)
    with end_of_waiting():
        write_file(tmp_path / "head", b"table")
    assert (tmp_path / "head").read_bytes() == b"table"


def test_what_a_process_of_the_same_number_left_is_written_anew(tmp_path: Path, aside: Path) -> None:
    aside.write_bytes(b"half of a longer file")
    write_file(tmp_path / "head", b"table")
    assert (tmp_path / "head").read_bytes() == b"table"


def test_a_plain_file_is_read_and_neither_a_link_nor_a_pipe_nor_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"table")
    with open_plain(tmp_path / "file") as file:
        assert file.read() == b"table"
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder", "missing"):
        with end_of_waiting(), pytest.raises(OSError, match=r"symbolic links|plain file|No such file"):
            open_plain(tmp_path / name)


@pytest.mark.parametrize("writable", [False, True])
def test_a_link_in_the_place_of_a_table_is_not_followed(tmp_path: Path, writable: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    create_table(tmp_path / "elsewhere" / HEAD, Kind.HEAD, 1, 0, {"values": b"12345678"})
    (tmp_path / HEAD).symlink_to(tmp_path / "elsewhere" / HEAD)
    with pytest.raises(TableError, match="symbolic links"):
        map_table(tmp_path / HEAD, Kind.HEAD, 1, writable=writable)
    map_table(tmp_path / "elsewhere" / HEAD, Kind.HEAD, 1, writable=writable)
