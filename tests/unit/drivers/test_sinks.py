"""Sinks: at least once, in order, each for itself, whatever fails in between."""

from __future__ import annotations

import asyncio
import json

import pytest

from sekisho.drivers import sinks
from sekisho.model.errors import SinkError
from sekisho.model.events import FeedAccepted
from sekisho.model.noticeacts import LookedUp
from unit.drivers.telling import NOW, Receiver, Record, sink_of, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(sinks, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(sinks, "LONGEST_PAUSE", 0.004)
    monkeypatch.setattr(sinks, "LOOK_EVERY", 0.001)


def told(record, receiver, folder, until_number=None, **options):
    """Run a sink until it has come to the end of the record; returns how it did."""

    async def main():
        sink = sink_of(record, receiver, folder, **options)
        task = asyncio.create_task(sink.run())
        try:
            await until(lambda: sink.state.number >= (record.end() if until_number is None else until_number) and not sink.state.error)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await sink.close()
        return sink

    return asyncio.run(main())


def test_every_event_comes_once_and_in_order_while_nothing_fails(tmp_path):
    record, receiver = Record(600), Receiver()
    sink = told(record, receiver, tmp_path)
    assert receiver.got == list(range(1, 601))
    assert (sink.state.taken, sink.state.failures, sink.lag()) == (600, 0, 0)


@pytest.mark.parametrize("batch", [1, 7])
def test_what_failed_is_told_again_before_anything_behind_it(tmp_path, batch):
    record, receiver = Record(30), Receiver(batch)
    receiver.faults = [None, "lost", "unanswered", None, OSError(5, "Input/output error"), "lost", "lost"]
    sink = told(record, receiver, tmp_path)
    first_time = list(dict.fromkeys(receiver.got))
    assert first_time == list(range(1, 31)), "each first came in its order, and none is missing"
    assert sink.state.failures == 5


def test_a_restart_goes_on_at_the_place_on_disk(tmp_path):
    record = Record(5)
    told(record, Receiver(), tmp_path)
    record.add()
    receiver = Receiver()
    told(record, receiver, tmp_path)
    assert receiver.got == [6]
    assert json.loads((tmp_path / "desk.json").read_text())["number"] == 6


def test_what_a_crash_left_in_doubt_is_told_again(tmp_path):
    record, receiver = Record(3), Receiver()
    receiver.faults = [None, "unanswered"]

    async def main():
        sink = sink_of(record, receiver, tmp_path)
        task = asyncio.create_task(sink.run())
        await until(lambda: receiver.got == [1, 2])
        task.cancel()  # between the other side's taking it and the place on disk
        await asyncio.gather(task, return_exceptions=True)
        await sink.close()

    asyncio.run(main())
    again = Receiver()
    told(record, again, tmp_path)
    assert again.got == [2, 3]


def test_a_sink_that_is_down_delays_no_other_and_keeps_nothing_in_memory(tmp_path):
    record, down, good = Record(1000), Receiver(), Receiver()

    async def main():
        down.hang = asyncio.Event()
        both = [sink_of(record, down, tmp_path, name="down"), sink_of(record, good, tmp_path, name="good")]
        tasks = [asyncio.create_task(one.run()) for one in both]
        await until(lambda: both[1].lag() == 0)
        assert (both[0].lag(), down.got) == (1000, [])
        assert both[0].lag_seconds() == 999.0, "the oldest act is the first"
        down.hang.set()
        await until(lambda: both[0].lag() == 0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in both:
            await one.close()

    asyncio.run(main())
    assert down.got == good.got == list(range(1, 1001))


def test_only_the_types_asked_for_are_told_and_the_place_moves_over_the_others(tmp_path):
    record, receiver = Record(2), Receiver()
    record.add(FeedAccepted("c2", "v"))
    record.add(LookedUp("192.0.2.1", None, NOW, "a report", "gunma/38", "", "unknown"))
    record.add()
    sink = told(record, receiver, tmp_path, words=["list.accepted"])
    assert receiver.got == [3]
    assert sink.lag() == 0


def test_an_act_whose_content_was_erased_is_passed_over_and_counted(tmp_path):
    record, receiver = Record(3), Receiver()
    record.erase(2)
    sink = told(record, receiver, tmp_path)
    assert receiver.got == [1, 3]
    assert sink.state.passed_over == 1


def test_a_sink_that_begins_now_passes_over_what_was_before_it_and_nothing_after(tmp_path):
    record, receiver = Record(5), Receiver()
    told(record, receiver, tmp_path, from_now=True)
    assert receiver.got == []
    record.add()
    told(record, receiver, tmp_path, from_now=True)
    assert receiver.got == [6]


def test_a_new_sink_begins_with_the_first_act(tmp_path):
    receiver = Receiver()
    told(Record(3), receiver, tmp_path)
    assert receiver.got == [1, 2, 3]


def test_a_place_in_another_record_is_not_taken_for_one_in_this(tmp_path):
    told(Record(5), Receiver(), tmp_path)
    receiver = Receiver()
    told(Record(7, start=500), receiver, tmp_path)
    assert receiver.got == [1, 2, 3, 4, 5, 6, 7]


def test_after_a_restored_copy_what_comes_next_is_told(tmp_path):
    told(Record(9), Receiver(), tmp_path)
    record, receiver = Record(6), Receiver()
    told(record, receiver, tmp_path)
    assert receiver.got == [], "these were told before"
    record.add()
    told(record, receiver, tmp_path)
    assert receiver.got == [7]


def test_a_damaged_place_stops_that_sink_and_says_what_to_do(tmp_path):
    (tmp_path / "desk.json").write_text("{")
    record, receiver = Record(1), Receiver()

    async def main():
        sink = sink_of(record, receiver, tmp_path)
        task = asyncio.create_task(sink.run())
        await until(lambda: sink.state.failures > 1)
        assert "remove it" in sink.state.error
        (tmp_path / "desk.json").unlink()
        await until(lambda: receiver.got == [1])
        await until(lambda: not sink.state.error)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sink.close()

    asyncio.run(main())


def test_a_ledger_that_cannot_be_read_and_a_place_that_cannot_be_kept_are_tried_again(tmp_path):
    record, receiver = Record(2), Receiver()
    folder = tmp_path / "sinks"
    folder.write_text("in the way")

    async def main():
        sink = sink_of(record, receiver, folder)
        task = asyncio.create_task(sink.run())
        await until(lambda: sink.state.failures > 1)
        folder.unlink()
        await until(lambda: sink.lag() == 0)
        record.broken = True
        record.add()
        await until(lambda: "disk is gone" in sink.state.error)
        record.broken = False
        await until(lambda: sink.lag() == 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sink.close()

    asyncio.run(main())
    assert list(dict.fromkeys(receiver.got)) == [1, 2, 3]


def test_pauses_double_up_to_the_longest_and_what_the_other_side_asks_is_heeded(tmp_path, monkeypatch):
    paused = []
    real = asyncio.sleep

    async def sleep(seconds):
        paused.append(seconds)
        await real(0)

    monkeypatch.setattr(sinks, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(sinks, "LONGEST_PAUSE", 8.0)
    monkeypatch.setattr(sinks.random, "uniform", lambda _, high: high)
    record, receiver = Record(1), Receiver()
    receiver.faults = ["lost"] * 5 + [SinkError("busy", 120.0), SinkError("busy", 1e9)]

    async def main():
        sink = sink_of(record, receiver, tmp_path)
        monkeypatch.setattr(sinks.asyncio, "sleep", sleep)
        task = asyncio.create_task(sink.run())
        while 1 not in receiver.got or receiver.faults:
            await real(0.001)
        await real(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sink.close()

    asyncio.run(main())
    assert [one for one in paused if one >= 1.0] == [1.0, 2.0, 4.0, 8.0, 8.0, 120.0, 3600.0]
