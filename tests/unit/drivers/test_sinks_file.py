"""Events into a file: whole lines, each once, rotated, and what a power cut left mended."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path

import pytest

from sekisho.drivers import sinksfile
from sekisho.drivers.sinksfile import FileTransport, StdoutTransport
from sekisho.model.errors import SinkError


def events(first, last):
    return [{"id": str(number), "data": {"customer": "利用者", "text": "x" * 40}} for number in range(first, last + 1)]


def send(transport, some):
    async def run(step):
        return step()

    asyncio.run(transport.send(some, run))


def transport_of(path, rotate=1 << 20, rotate_count=None, keep=3):
    return FileTransport(path, rotate, rotate_count, keep)


def ids(path):
    return [int(json.loads(line)["id"]) for line in path.read_bytes().splitlines()]


def test_each_event_is_a_line_and_the_file_is_for_the_daemon_alone(tmp_path):
    path = tmp_path / "events.jsonl"
    send(transport_of(path), events(1, 3))
    assert [json.loads(line) for line in path.read_text().splitlines()] == events(1, 3)
    assert path.stat().st_mode & 0o007 == 0


def test_a_batch_is_on_disk_before_it_counts_as_taken(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(sinksfile.os, "fsync", lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink())))
    path = tmp_path / "events.jsonl"
    send(transport_of(path), events(1, 3))
    assert synced == [str(tmp_path), str(path)], "the new name, then the lines"


def test_a_file_is_rotated_by_size_and_the_oldest_goes(tmp_path):
    path = tmp_path / "events.jsonl"
    transport = transport_of(path, rotate=400, keep=2)
    for number in range(1, 41):
        send(transport, events(number, number))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    files = [tmp_path / "events.jsonl.2", tmp_path / "events.jsonl.1", path]
    assert all(one.stat().st_size <= 400 for one in files)
    kept = [number for one in files for number in ids(one)]
    assert kept == list(range(kept[0], 41))
    assert len(kept) > 5


def test_a_file_is_rotated_by_count_within_a_batch_and_after_a_restart_too(tmp_path):
    path = tmp_path / "events.jsonl"
    send(transport_of(path, rotate_count=4), events(1, 10))
    send(transport_of(path, rotate_count=4), events(11, 13))
    assert [ids(tmp_path / f"events.jsonl.{number}") for number in (3, 2, 1)] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    assert ids(path) == [13]


def test_a_line_larger_than_a_file_may_be_is_written_all_the_same(tmp_path):
    path = tmp_path / "events.jsonl"
    send(transport_of(path, rotate=10), events(1, 2))
    assert (ids(tmp_path / "events.jsonl.1"), ids(path)) == ([1], [2])


@pytest.mark.parametrize("cut", [1, 20, 70])
def test_a_torn_line_is_cut_off_and_written_again(tmp_path, cut):
    path = tmp_path / "events.jsonl"
    send(transport_of(path), events(1, 3))
    os.truncate(path, path.stat().st_size - cut)
    send(transport_of(path), events(2, 5))
    assert ids(path) == [1, 2, 3, 4, 5]


def test_what_stands_in_the_file_already_is_not_written_twice(tmp_path):
    path = tmp_path / "events.jsonl"
    send(transport_of(path), events(1, 4))
    send(transport_of(path), events(2, 6))
    assert ids(path) == [1, 2, 3, 4, 5, 6]


def test_nor_what_stands_in_the_file_before(tmp_path):
    path = tmp_path / "events.jsonl"
    send(transport_of(path, rotate_count=4), events(1, 4))
    path.rename(tmp_path / "events.jsonl.1")
    send(transport_of(path, rotate_count=4), events(3, 6))
    assert (ids(tmp_path / "events.jsonl.1"), ids(path)) == ([1, 2, 3, 4], [5, 6])


def test_a_file_moved_away_by_another_program_is_begun_anew(tmp_path):
    path = tmp_path / "events.jsonl"
    transport = transport_of(path)
    send(transport, events(1, 2))
    path.rename(tmp_path / "moved")
    send(transport, events(3, 4))
    assert (ids(tmp_path / "moved"), ids(path)) == ([1, 2], [3, 4])


def test_a_full_disk_leaves_no_part_of_a_batch_and_it_is_written_later(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    transport = transport_of(path)
    send(transport, events(1, 2))
    real, room = os.write, [100]

    def write(descriptor, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = real(descriptor, data[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr(sinksfile.os, "write", write)
    with pytest.raises(SinkError, match="No space left"):
        send(transport, events(3, 6))
    assert ids(path) == [1, 2]
    monkeypatch.setattr(sinksfile.os, "write", real)
    send(transport, events(3, 6))
    assert ids(path) == [1, 2, 3, 4, 5, 6]


def test_a_folder_that_is_not_there_is_named_with_what_to_do(tmp_path):
    with pytest.raises(SinkError, match="see that its folder is there"):
        send(transport_of(tmp_path / "none" / "events.jsonl"), events(1, 1))


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SinkError, match="no regular file"):
        send(transport_of(tmp_path / "pipe"), events(1, 1))


def test_standard_output_gets_lines_and_a_reader_that_is_slow_gets_all_of_them(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr(sinksfile, "_STDOUT", writing)
    got = bytearray()

    async def main():
        async def read():
            while got.count(b"\n") < 2000:
                got.extend(await asyncio.to_thread(os.read, reading, 3000))

        async def run(step):
            return await asyncio.to_thread(step)

        await asyncio.gather(read(), StdoutTransport().send(events(1, 2000), run))

    asyncio.run(main())
    os.close(reading)
    assert [json.loads(line)["id"] for line in got.splitlines()] == [str(number) for number in range(1, 2001)]
    with pytest.raises(SinkError, match="Broken pipe"):
        send(StdoutTransport(), events(1, 1))
    os.close(writing)


def test_a_reader_that_takes_nothing_holds_nobody_up_for_ever(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr(sinksfile, "_STDOUT", writing)
    monkeypatch.setattr(sinksfile, "_PATIENCE", 0.01)
    with pytest.raises(SinkError, match="nobody has read"):
        send(StdoutTransport(), events(1, 2000))
    os.close(reading)
    os.close(writing)
