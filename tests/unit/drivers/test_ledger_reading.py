"""The ledger as sinks read it: from a number on, so many at a time, while acts are being written."""

from __future__ import annotations

import asyncio

import pytest

from sekisho.drivers.latencies import Latencies
from sekisho.drivers.ledger import Ledger
from sekisho.model.errors import LedgerError
from sekisho.model.events import OptOutAdded


def test_events_are_read_from_a_number_on(tmp_path):
    async def main():
        ledger = Ledger.open(tmp_path / "ledger.db")
        for number in range(7):
            await ledger.append(OptOutAdded(f"c-{number}", "c2", "c"), "uid:0(root)", 1.0)
        whole = list(ledger.events())
        assert ledger.since(0, 100) == whole
        assert ledger.since(3, 2) == whole[3:5]
        assert ledger.since(7, 5) == []
        assert sum(ledger.latencies.counts) == 7
        assert ledger.latencies.total > 0
        await ledger.close()
        (tmp_path / "ledger.db").write_bytes(b"no database at all")
        with pytest.raises(LedgerError, match="cannot be read"):
            ledger.since(0, 1)

    asyncio.run(main())


def test_latencies_fall_into_the_first_bound_that_holds_them():
    found = Latencies((0.001, 0.01))
    for seconds in (0.0, 0.001, 0.0011, 0.01, 5.0):
        found.add(seconds)
    assert found.counts == [2, 2, 1]
    assert found.total == pytest.approx(5.0121)
