"""The checkpoint saves the fold, and is believed only where it belongs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.drivers import ledger as driver
from sekisho.drivers import ledgerstart
from sekisho.drivers.checkpoint import checkpoint_of, read_checkpoint
from sekisho.drivers.ledger import Ledger
from sekisho.ledger import checkpoint
from sekisho.ledger.chain import Head, genesis, verify
from sekisho.ledger.checkpoint import UnusableError, dump, load
from sekisho.ledger.state import PARTS, State, fold
from sekisho.model.errors import LedgerError
from sekisho.model.events import (
    CustomerAdded,
    CustomerRemoved,
    ExceptionAdded,
    ExceptionRemoved,
    FeedAccepted,
    OptOutAdded,
    OptOutRemoved,
    RecordedAct,
)
from sekisho.model.measureacts import (
    CustomerExempted,
    EmergencyDeclared,
    EnforcementHeld,
    MeasureMoved,
    MeasureOpened,
    OutageOpened,
    TerminationEligible,
)
from sekisho.model.noticeacts import NoticeQueued, NoticeSent, NoticeTried
from unit.ledger.ledgers import ACTOR, content, hurt, opened, opt_outs, write

CHAIN = bytes(range(32))
NAMES = st.sampled_from(["a", "b", "電"])
ACTS = st.one_of(
    st.builds(OptOutAdded, NAMES, NAMES, NAMES, st.none() | st.floats(0, 1e10)),
    st.builds(OptOutRemoved, NAMES, NAMES, NAMES),
    st.builds(CustomerAdded, NAMES, st.just({"id": "a", "prefixes": ["192.0.2.1"]})),
    st.builds(CustomerRemoved, NAMES),
    st.builds(ExceptionAdded, NAMES, NAMES, st.just(2), st.just(1), NAMES, NAMES),
    st.builds(ExceptionRemoved, NAMES, NAMES),
    st.builds(FeedAccepted, NAMES, NAMES),
    st.builds(MeasureOpened, NAMES, NAMES, NAMES, st.just("bandwidth"), st.just({"rate": 9.5}), st.booleans(), st.booleans()),
    st.builds(MeasureMoved, NAMES, NAMES, st.sampled_from(["in-force", "lifted"]), st.just("condition"), st.none() | st.just(1e9)),
    st.builds(TerminationEligible, NAMES, NAMES, NAMES),
    st.builds(CustomerExempted, NAMES, NAMES, NAMES),
    st.builds(EnforcementHeld, NAMES),
    st.builds(EmergencyDeclared, st.just(["a/1"]), st.just(1e9), st.lists(NAMES, max_size=1), NAMES),
    st.builds(OutageOpened, NAMES, st.just(5.0), st.just([]), NAMES),
    st.builds(NoticeQueued, NAMES, NAMES, NAMES, NAMES, st.just("before"), st.just("email"), NAMES, st.just([]), NAMES),
    st.builds(NoticeTried, NAMES, NAMES, st.just(1)),
    st.builds(NoticeSent, NAMES, NAMES, st.just(7.0)),
)


def folded(acts, first=1, state=None):
    state = State() if state is None else state
    for number, act in enumerate(acts, first):
        state.apply(RecordedAct(number, 100.0 * number, ACTOR, act))
    return state


@pytest.fixture
def often(monkeypatch):
    """A checkpoint at every stop and after every ten acts."""
    monkeypatch.setattr(driver, "CHECKPOINT_AT_CLOSE", 1)
    monkeypatch.setattr(driver, "CHECKPOINT_EVERY", 10)


@given(st.lists(ACTS, max_size=30), st.lists(ACTS, max_size=10))
def test_a_state_read_back_goes_on_as_the_one_that_was_written(before, after):
    state = folded(before)
    again, head = load(b"".join(dump(state, CHAIN)))
    assert head == Head(len(before), CHAIN)
    assert content(again) == content(state)
    assert content(folded(after, len(before) + 1, again)) == content(folded(after, len(before) + 1, state))


@given(st.lists(ACTS, max_size=30), st.lists(ACTS, max_size=30))
def test_a_copy_stays_as_it_is_whatever_is_applied_afterwards(before, after):
    state = folded(before)
    copy, held = state.copy(), content(state)
    folded(after, len(before) + 1, state)
    assert content(copy) == held
    assert content(state) == content(folded([*before, *after]))


@given(st.data())
def test_any_byte_that_was_changed_makes_it_unusable(data):
    written = b"".join(dump(folded(opt_outs(5)), CHAIN))
    place = data.draw(st.integers(0, len(written) - 2))
    changed = bytearray(written)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UnusableError):
        load(bytes(changed))
    with pytest.raises(UnusableError):
        load(written[:place])


def test_every_part_has_a_name_of_its_own():
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert all(isinstance(chunk, list | dict) for part in folded(opt_outs(3)).parts.values() for chunk in part.dump())


def test_a_checkpoint_of_another_version_of_a_part_is_not_read(monkeypatch):
    written = b"".join(dump(folded(opt_outs(5)), CHAIN))
    monkeypatch.setattr(checkpoint, "versions", lambda: dict.fromkeys((part.name for part in PARTS), 2))
    with pytest.raises(UnusableError, match="version"):
        load(written)


@pytest.mark.usefixtures("often")
def test_a_start_reads_only_what_follows_the_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(60))
    write_one_more_without_checkpoint(path, monkeypatch)
    whole = fold(RecordedAct(n, 999.0 + n, ACTOR, act) for n, act in enumerate([*opt_outs(60), OptOutAdded("more", "c2", "web")], 1))
    read = []
    taken = ledgerstart.recorded
    monkeypatch.setattr(ledgerstart, "recorded", lambda event: read.append(event.number) or taken(event))
    with opened(path) as ledger:
        assert read == [61]
        assert content(ledger.state) == content(whole)
        assert ledger.head.number == 61


def write_one_more_without_checkpoint(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(driver, "CHECKPOINT_AT_CLOSE", 1000)
        write(path, [OptOutAdded("more", "c2", "web")], at=1060.0)


@pytest.mark.usefixtures("often")
def test_checkpoints_are_written_while_the_daemon_runs(tmp_path):
    path = tmp_path / "ledger.db"

    async def scenario():
        ledger = Ledger.open(path)
        for place, act in enumerate(opt_outs(25)):
            await ledger.append(act, ACTOR, 1000.0 + place)
        await asyncio.wait([ledger._checkpointing])
        number = json.loads(checkpoint_of(path).read_bytes().split(b"\n")[0])["number"]
        await ledger.close()
        return number

    assert 10 <= asyncio.run(scenario()) <= 25


def test_a_short_ledger_is_verified_whole_at_every_start(tmp_path):
    write(tmp_path / "ledger.db", opt_outs(20))
    assert not checkpoint_of(tmp_path / "ledger.db").exists()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-70]), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(b"".join(dump(folded(opt_outs(7)), CHAIN))), "another ledger"),
        (lambda path: path.write_bytes(b"".join(dump(folded(opt_outs(60)), CHAIN))), "ledger ends with event 30"),
    ],
)
def test_a_checkpoint_that_is_none_of_this_ledger_is_passed_over_and_said(tmp_path, capsys, spoil, why):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(30))
    with opened(path) as ledger:
        wanted = content(ledger.state)
    spoil(checkpoint_of(path))
    capsys.readouterr()
    with opened(path) as ledger:
        assert content(ledger.state) == wanted
    said = capsys.readouterr()
    assert "checkpoint-passed-over" in said.out + said.err
    assert why in said.out + said.err


@pytest.mark.usefixtures("often")
def test_a_checkpoint_is_no_way_around_the_chain(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(30))
    hurt(path, "UPDATE events SET chain = zeroblob(32) WHERE number = 30")
    with pytest.raises(LedgerError, match="event 30"), opened(path):
        pass


@pytest.mark.usefixtures("often")
def test_a_disk_that_takes_no_checkpoint_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"

    def full(*_):
        raise LedgerError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(driver, "write_checkpoint", full)
        write(path, opt_outs(30))
    with opened(path) as ledger:
        assert ledger.state.number == 30


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(5))

    async def scenario():
        ledger = Ledger.open(path)
        await ledger.checkpoint()
        before = checkpoint_of(path).read_bytes()
        aside = checkpoint_of(path).with_name(checkpoint_of(path).name + ".new")
        aside.mkdir()
        with pytest.raises(LedgerError, match="see that its disk has room"):
            await ledger.checkpoint()
        assert checkpoint_of(path).read_bytes() == before
        await ledger.close()

    asyncio.run(scenario())


def test_no_checkpoint_is_no_fault(tmp_path):
    assert read_checkpoint(tmp_path / "ledger.db", None) is None
    assert genesis() != CHAIN


CHILD = """
import asyncio, os, sys
from pathlib import Path
from sekisho.drivers import ledger as driver
from sekisho.drivers.erasure import find_due
from sekisho.model.events import OptOutAdded, OptOutRemoved

driver.CHECKPOINT_EVERY = 5

async def main():
    ledger = driver.Ledger.open(Path(sys.argv[1]))
    number = ledger.state.number
    while True:
        number += 1
        await ledger.append(OptOutAdded(f"c-{number}", "c2", "phone"), "uid:0(root)", 1.0)
        os.write(1, f"+c-{number}\\n".encode())
        if number % 3 == 0:
            await ledger.append(OptOutRemoved(f"c-{number}", "c2", "phone"), "uid:0(root)", 1.0)
            os.write(1, f"-c-{number}\\n".encode())
        if number % 20 == 0:
            kept = {"optout-added": 5.0, "optout-removed": 5.0}
            await ledger.erase(await asyncio.to_thread(find_due, ledger.path, kept, 1e6), "sekishod", 2.0)

asyncio.run(main())
"""


def test_kill_9_between_checkpoints_and_erasures_leaves_the_state_that_was_acknowledged(tmp_path):
    path = tmp_path / "ledger.db"
    acknowledged: dict[str, bool] = {}
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE)
        read = [child.stdout.readline() for _ in range(50)]
        child.kill()
        read += child.stdout.read().splitlines(keepends=True)
        child.wait()
        child.stdout.close()
        for line in read:
            if line.endswith(b"\n"):
                acknowledged[line[1:].decode().strip()] = line.startswith(b"+")
        with opened(path) as ledger:
            from_checkpoint = content(ledger.state)
            assert verify(ledger.events()) is None
            in_force = set(ledger.state.opt_outs)
        checkpoint_of(path).unlink(missing_ok=True)
        with opened(path) as ledger:
            assert content(ledger.state) == from_checkpoint
        # The act at the moment of the kill may be on disk and not acknowledged: one at most.
        wanted = {customer for customer, opted_out in acknowledged.items() if opted_out}
        assert len(wanted ^ in_force) <= 1
        acknowledged |= dict.fromkeys(in_force, True) | dict.fromkeys(wanted - in_force, False)
