"""The ledger on disk: what was acknowledged is there, whatever happens next."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from sekisho.drivers.ledger import Ledger
from sekisho.ledger.chain import verify
from sekisho.model.errors import LedgerError
from sekisho.model.events import FeedAccepted, OptOutAdded, OptOutRemoved

ACTOR = "uid:1000(operator)"


async def write(path, count=3):
    ledger = Ledger.open(path)
    acts = [await ledger.append(OptOutAdded(f"c-{n}", "c2", "phone"), ACTOR, 1000.0 + n) for n in range(count)]
    await ledger.close()
    return acts


def test_acts_are_read_back_at_the_next_start(tmp_path):
    asyncio.run(write(tmp_path / "ledger.db"))
    again = Ledger.open(tmp_path / "ledger.db")
    assert sorted(again.state.opt_outs) == ["c-0", "c-1", "c-2"]
    assert again.state.opt_out("c-1", "c2").since == 1001.0
    assert again.state.number == 3
    assert verify(again.events()) is None
    asyncio.run(again.close())


def test_numbers_go_on_where_they_stopped(tmp_path):
    asyncio.run(write(tmp_path / "ledger.db"))
    assert [act.number for act in asyncio.run(write(tmp_path / "ledger.db"))] == [4, 5, 6]


def test_the_state_holds_an_act_when_it_is_acknowledged(tmp_path):
    async def scenario():
        ledger = Ledger.open(tmp_path / "ledger.db")
        await ledger.append(OptOutAdded("c-1", "c2", "phone"), ACTOR, 1.0)
        held = ledger.state.opted_out("c-1", 2.0)
        await ledger.append(OptOutRemoved("c-1", "c2", "phone"), ACTOR, 3.0)
        after = ledger.state.opted_out("c-1", 4.0)
        await ledger.close()
        return held, after

    assert asyncio.run(scenario()) == ({"c2"}, frozenset())


def test_many_acts_at_once_share_transactions_and_keep_their_order(tmp_path):
    async def scenario():
        ledger = Ledger.open(tmp_path / "ledger.db")
        acts = await asyncio.gather(*(ledger.append(OptOutAdded(f"c-{n}", "c2", "phone"), ACTOR, 1.0) for n in range(1500)))
        await ledger.close()
        return acts

    acts = asyncio.run(scenario())
    assert [act.number for act in acts] == list(range(1, 1501))
    assert [act.act.customer for act in acts] == [f"c-{n}" for n in range(1500)]


def test_an_act_whose_caller_went_away_counts_all_the_same(tmp_path):
    async def scenario():
        ledger = Ledger.open(tmp_path / "ledger.db")
        task = asyncio.create_task(ledger.append(OptOutAdded("c-1", "c2", "phone"), ACTOR, 1.0))
        await asyncio.sleep(0)
        task.cancel()
        await ledger.append(FeedAccepted("c2", "v1"), ACTOR, 2.0)
        held = ledger.state.opted_out("c-1", 3.0)
        await ledger.close()
        return held

    assert asyncio.run(scenario()) == {"c2"}


def test_only_one_daemon_holds_a_ledger(tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.db")
    with pytest.raises(LedgerError, match="another sekishod"):
        Ledger.open(tmp_path / "ledger.db")
    asyncio.run(ledger.close())
    asyncio.run(Ledger.open(tmp_path / "ledger.db").close())


def test_a_closed_ledger_takes_nothing(tmp_path):
    async def scenario():
        ledger = Ledger.open(tmp_path / "ledger.db")
        await ledger.close()
        await ledger.append(FeedAccepted("c2", "v1"), ACTOR, 1.0)

    with pytest.raises(LedgerError, match="closed"):
        asyncio.run(scenario())


def test_the_file_refuses_to_forget(tmp_path):
    asyncio.run(write(tmp_path / "ledger.db"))
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        for statement in ("DELETE FROM events", "UPDATE events SET actor = 'x'", "UPDATE events SET payload = x'00'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
        connection.execute("UPDATE events SET payload = NULL WHERE number = 2")
    connection.close()
    again = Ledger.open(tmp_path / "ledger.db")
    assert sorted(again.state.opt_outs) == ["c-0", "c-2"]
    asyncio.run(again.close())


def test_a_ledger_changed_behind_our_back_is_refused_and_the_event_named(tmp_path):
    asyncio.run(write(tmp_path / "ledger.db"))
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.execute("DROP TRIGGER events_stand")
    connection.execute("UPDATE events SET actor = 'uid:0(root)' WHERE number = 2")
    connection.commit()
    connection.close()
    with pytest.raises(LedgerError, match="does not verify: event 2"):
        Ledger.open(tmp_path / "ledger.db")


@pytest.mark.parametrize("damage", [b"this is no database at all, not even a short one", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_told_in_a_sentence(tmp_path, damage):
    (tmp_path / "ledger.db").write_bytes(damage)
    with pytest.raises(LedgerError, match="damaged") as caught:
        Ledger.open(tmp_path / "ledger.db")
    assert "; " in str(caught.value)


def test_a_torn_file_is_told_in_a_sentence(tmp_path):
    asyncio.run(write(tmp_path / "ledger.db", 400))
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with (tmp_path / "ledger.db").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) // 2 // 4096 * 4096)
    with pytest.raises(LedgerError):
        Ledger.open(tmp_path / "ledger.db")


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path):
    asyncio.run(write(tmp_path / "ledger.db"))
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.execute("PRAGMA user_version=9")
    connection.close()
    with pytest.raises(LedgerError, match="schema version 9"):
        Ledger.open(tmp_path / "ledger.db")


def test_a_write_that_fails_changes_nothing_and_the_next_one_works(tmp_path):
    async def scenario():
        ledger = Ledger.open(tmp_path / "ledger.db")
        await ledger.append(FeedAccepted("c2", "v1"), ACTOR, 1.0)
        block = sqlite3.connect(tmp_path / "ledger.db")
        block.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END")
        block.commit()
        with pytest.raises(LedgerError, match="could not be written"):
            await ledger.append(FeedAccepted("c2", "v2"), ACTOR, 2.0)
        failed = dict(ledger.state.accepted)
        block.execute("DROP TRIGGER full")
        block.commit()
        block.close()
        act = await ledger.append(FeedAccepted("c2", "v3"), ACTOR, 3.0)
        await ledger.close()
        return failed, act.number, ledger.state.accepted

    failed, number, accepted = asyncio.run(scenario())
    assert number == 2
    assert failed["c2"] is accepted["c2"]
    assert accepted == {"c2": {"v1", "v3"}}


CHILD = """
import asyncio, os, sys
from pathlib import Path
from sekisho.drivers.ledger import Ledger
from sekisho.model.events import OptOutAdded

async def one(ledger, number):
    await ledger.append(OptOutAdded(f"c-{number}", "c2", "phone"), "uid:0(root)", 1.0)
    os.write(1, f"c-{number}\\n".encode())

async def main():
    ledger = Ledger.open(Path(sys.argv[1]))
    start = 0
    while True:
        await asyncio.gather(*(one(ledger, number) for number in range(start, start + 7)))
        start += 7

asyncio.run(main())
"""


def test_no_acknowledged_opt_out_is_lost_by_kill_9(tmp_path):
    path = tmp_path / "ledger.db"
    acknowledged = set()
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD), str(path)], stdout=subprocess.PIPE)
        read = [child.stdout.readline() for _ in range(60)]
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.wait()
        child.stdout.close()
        acknowledged |= {line.decode().strip() for line in [*read, *rest.splitlines(keepends=True)] if line.endswith(b"\n")}
        ledger = Ledger.open(path)
        assert verify(ledger.events()) is None
        assert acknowledged <= set(ledger.state.opt_outs)
        asyncio.run(ledger.close())
    assert len(acknowledged) >= 60
