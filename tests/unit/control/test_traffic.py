"""Traffic handed in by row, saved, and found again under the rows customers have after a restart."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sekisho.app.control_traffic import SAVE_EVERY, open_traffic
from sekisho.drivers.usagestore import UsageStore
from sekisho.model.errors import TableError
from sekisho.model.usage import Source

T = 1_775_000_000.0
MIB = 1 << 20
ROWS = {"c-1": 2, "c-2": 3, "c-3": 4}


def opened(folder, rows=ROWS, now=T):
    return open_traffic(UsageStore(folder), lambda: rows, now)


def hand_in(traffic, at, octets, source=Source.FLOWS, **more):
    rows = np.array(sorted(octets), np.int64)
    values = np.array([octets[row] for row in sorted(octets)], np.uint64)
    traffic.add(source, at, rows, values, values // np.uint64(2), **more)


def of_month(traffic, row, now):
    octets = traffic.usage.window(30 * 86400, now).octets
    return (float(octets[0, row]), float(octets[1, row])) if row < octets.shape[1] else (0.0, 0.0)


async def ten_days(traffic):
    for hour in range(240):
        now = T + hour * 3600
        hand_in(traffic, now, {2: 100 * MIB, 4: hour * MIB})
    await traffic.tick(now, everything=True)
    return now


def test_a_month_survives_a_restart(tmp_path):
    traffic = opened(tmp_path)
    now = asyncio.run(ten_days(traffic))
    again = opened(tmp_path, now=now + 3600)
    assert (
        of_month(again, 2, now + 3600)
        == of_month(traffic, 2, now)
        == (pytest.approx(24000 * MIB, abs=2 * MIB), pytest.approx(12000 * MIB, abs=2 * MIB))
    )
    for window in (3600, 86400, 7 * 86400):
        assert np.allclose(again.usage.window(window, now).octets[:, :5], traffic.usage.window(window, now).octets[:, :5], atol=2 * MIB)
    assert list(again.usage.days(4))[:-1][-9:] == list(traffic.usage.days(4))[:-1][-9:]
    assert again.usage.counted_by(2) is Source.FLOWS


def test_customers_have_their_usage_under_other_rows_too_and_strangers_none(tmp_path):
    now = asyncio.run(ten_days(opened(tmp_path)))
    first = {"c-9": 2, "c-3": 3, "c-1": 7}
    for rows in (first, {**first, "c-10": 8}):
        now += 180
        again = opened(tmp_path, rows, now + 60)
        assert of_month(again, 7, now + 60)[0] == pytest.approx(24000 * MIB, abs=2 * MIB)
        assert of_month(again, 3, now + 60)[0] == pytest.approx(sum(range(240)) * MIB, abs=2 * MIB)
        assert of_month(again, 2, now + 60) == (0.0, 0.0)
        assert again.usage.counted_by(2) is None
        hand_in(again, now + 120, {8: 5 * MIB})
        asyncio.run(again.tick(now + 120, everything=True))
    assert list(opened(tmp_path, rows, now + 180).usage.days(8))[-1].down == 10 * MIB


def test_a_death_costs_minutes_and_counts_nothing_twice(tmp_path):
    traffic = opened(tmp_path)

    async def live():
        for minute in range(181):
            hand_in(traffic, T + minute * 60, {2: 10 * MIB})
            await traffic.tick(T + minute * 60)

    asyncio.run(live())
    again = opened(tmp_path, now=T + 181 * 60)
    lost = int(traffic.usage.octets[0, 2]) - int(again.usage.octets[0, 2])
    assert 0 <= lost <= (SAVE_EVERY / 60 + 1) * 10 * MIB
    assert again.usage.window(3600, T + 181 * 60).octets[0, 2] <= 600 * MIB


@pytest.mark.parametrize("damage", [b"", b"nothing of ours", b"SKUSAGE1"])
@pytest.mark.parametrize("which", ["rows", "totals", "86400"])
def test_what_cannot_be_read_begins_anew(tmp_path, damage, which):
    now = asyncio.run(ten_days(opened(tmp_path)))
    for path in tmp_path.iterdir():
        if which in path.name:
            path.write_bytes(damage)
    again = opened(tmp_path, now=now + 60)
    assert of_month(again, 2, now + 60)[0] <= 24001 * MIB
    hand_in(again, now + 120, {2: MIB})
    asyncio.run(again.tick(now + 120, everything=True))
    assert opened(tmp_path, now=now + 180).usage.octets[0, 2] >= MIB


def test_a_disk_that_is_full_is_told_and_tried_again(tmp_path, monkeypatch):
    traffic = opened(tmp_path)
    hand_in(traffic, T, {2: MIB})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("sekisho.drivers.usagestore.write_file", full)
        with pytest.raises(TableError, match="No space left"):
            asyncio.run(traffic.tick(T + 4000, everything=True))
    asyncio.run(traffic.tick(T + 4001, everything=True))
    assert opened(tmp_path, now=T + 4002).usage.octets[0, 2] == MIB


def test_nothing_on_disk_names_a_customer(tmp_path):
    traffic = opened(tmp_path)
    asyncio.run(ten_days(traffic))
    written = list(tmp_path.iterdir())
    assert len(written) > 30
    assert not any(name.encode() in path.read_bytes() for path in written for name in ROWS)


def test_what_was_begun_is_handed_in_beside_octets(tmp_path):
    traffic = opened(tmp_path)
    counts = np.array([7, 0], np.uint32)
    hand_in(traffic, T, {2: 1, 3: 1}, mail=counts, connections=counts * np.uint32(100), focused=counts * np.uint32(90))
    assert [part.tolist() for part in traffic.mail.window(600, T + 1)] == [[2], [[7]]]
    assert [part.tolist() for part in traffic.connections.window(600, T + 1)] == [[2], [[700], [630]]]
    assert traffic.batches == {Source.COUNTERS: 0, Source.RADIUS: 0, Source.FLOWS: 1}
    assert traffic.last == {Source.FLOWS: T}


def test_what_is_handed_in_while_somebody_looks_is_counted_afterwards(tmp_path):
    traffic = opened(tmp_path)
    hand_in(traffic, T + 10, {2: MIB})
    with traffic.still():
        hand_in(traffic, T + 20, {2: MIB})
        traffic.expect_none(Source.FLOWS, np.array([2]))
        assert int(traffic.usage.octets[0, 2]) == MIB
        assert traffic.usage.gathered[2] == 10
    assert int(traffic.usage.octets[0, 2]) == 2 * MIB
    assert traffic.usage.gathered[2] == 0
    hand_in(traffic, T + 30, {2: MIB})
    traffic.expect_none(Source.FLOWS, np.array([2]))
    assert traffic.usage.gathered[2] == 0


def test_slots_that_are_younger_than_the_totals_count_for_nothing(tmp_path):
    traffic = opened(tmp_path)
    hand_in(traffic, T + 60, {2: 10 * MIB})
    asyncio.run(traffic.tick(T + 61, everything=True))
    (totals,) = tmp_path.glob("*-totals")
    before = totals.read_bytes()
    for minute in range(2, 130):
        hand_in(traffic, T + minute * 60, {2: 10 * MIB})
    asyncio.run(traffic.tick(T + 130 * 60, everything=True))
    totals.write_bytes(before)
    again = opened(tmp_path, now=T + 131 * 60)
    for window in (3600, 86400):
        assert again.usage.window(window, T + 131 * 60).octets[0, 2] <= 10 * MIB
