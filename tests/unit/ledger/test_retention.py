"""Whose content may be erased: never what is in force, and never so that the fold says something else."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.drivers import ledger as driver
from sekisho.drivers.checkpoint import checkpoint_of
from sekisho.drivers.erasure import find_due
from sekisho.drivers.ledger import Ledger, LedgerError
from sekisho.ledger.chain import verify
from sekisho.ledger.retention import KINDS, due, runs
from sekisho.ledger.state import State
from sekisho.model.events import (
    ACTS,
    CustomerAdded,
    CustomerRemoved,
    ExceptionAdded,
    OptOutAdded,
    OptOutRemoved,
    PayloadsErased,
    RecordedAct,
)
from sekisho.model.measureacts import CustomerExempted, EnforcementHeld, MeasureMoved, MeasureOpened, MeasureSustained
from sekisho.model.noticeacts import AttentionMoved, AttentionOpened, LookedUp, NoticeQueued, NoticeSent
from sekisho.model.retention import RETENTION
from unit.ledger.ledgers import ACTOR, DAY, content, opened, write

LATER = 100 * 365 * DAY
KEPT = dict.fromkeys(RETENTION, 10 * DAY)

OPENED = MeasureOpened("m-1", "c-1", "nbnet/22-2-5", "dns-overload", {"rate": 900.0}, observe=False, urgent=False)
SUSTAINED = MeasureSustained("m-1", "c-1", {"rate": 800.0})
LIFTED = MeasureMoved("m-1", "c-1", "lifted", "condition-gone")
QUEUED = NoticeQueued("n-1", "c-1", "m-1", "nbnet/22-2-5", "suspended", "mail", "c-1@example.com", [])
LOOKED_UP = LookedUp("192.0.2.1", None, 5.0, "report 7", "gunma/38", "c-1", "found")


def record(*acts, first=1, every=DAY):
    """Acts a day apart."""
    return [RecordedAct(number, number * every, ACTOR, act) for number, act in enumerate(acts, first)]


def numbers(acts, now, retention=KEPT):
    return sorted(number for one in due(record(*acts), retention, now) for number in one.numbers)


@pytest.mark.parametrize(
    ("acts", "wanted"),
    [
        pytest.param([OptOutAdded("c-1", "c2", "x")], [], id="an opt-out in force"),
        pytest.param([OptOutAdded("c-1", "c2", "x"), OptOutRemoved("c-1", "c2", "x")], [1, 2], id="one that was taken back"),
        pytest.param([OptOutAdded("c-1", "c2", "x", 3 * DAY)], [1], id="one that ran out"),
        pytest.param([OptOutAdded("c-1", "c2", "x", 3 * DAY), OptOutAdded("c-1", "c2", "x")], [1], id="one that was replaced"),
        pytest.param([OptOutAdded("c-1", "c2", "x"), OptOutRemoved("c-1", "other", "x")], [2], id="another list"),
        pytest.param([CustomerAdded("c-1", {}), CustomerAdded("c-1", {}), CustomerRemoved("c-1")], [1, 2], id="a customer's last word"),
        pytest.param([CustomerExempted("c-1", "nbnet/22", "hospital")], [], id="an exemption in force"),
        pytest.param([OPENED, SUSTAINED], [], id="a measure that is open"),
        pytest.param([OPENED, SUSTAINED, LIFTED], [1, 2, 3], id="a measure that was lifted"),
        pytest.param([OPENED, MeasureMoved("m-1", "c-1", "in-force", "condition")], [], id="a measure in force"),
        pytest.param([QUEUED], [], id="a notice that has to go out"),
        pytest.param([QUEUED, NoticeSent("n-1", "c-1", None)], [1, 2], id="a notice that went out"),
        pytest.param([AttentionOpened("a-1", "c-1", "gunma/38", "192.0.2.1", 5.0, "r")], [], id="a call that is open"),
        pytest.param(
            [AttentionOpened("a-1", "c-1", "gunma/38", "192.0.2.1", 5.0, "r"), AttentionMoved("a-1", "c-1", "sent")], [], id="a call sent"
        ),
        pytest.param(
            [AttentionOpened("a-1", "c-1", "gunma/38", "192.0.2.1", 5.0, "r"), AttentionMoved("a-1", "c-1", "closed")],
            [1, 2],
            id="a call closed",
        ),
        pytest.param([LOOKED_UP, LOOKED_UP], [1, 2], id="look-ups"),
        pytest.param([EnforcementHeld("x"), ExceptionAdded("c2", "00", 1, 1), PayloadsErased(1, 1)], [], id="nobody's"),
    ],
)
def test_what_is_over_goes_and_what_is_in_force_stays(acts, wanted):
    assert numbers(acts, LATER) == wanted


def test_time_counts_from_when_an_act_was_over_and_not_from_when_it_was_written():
    acts = [OptOutAdded("c-1", "c2", "x"), *([LOOKED_UP] * 30), OptOutRemoved("c-1", "c2", "x")]
    assert 1 not in numbers(acts, 41.9 * DAY)
    assert {1, 32} <= set(numbers(acts, 42 * DAY))


def test_a_measure_goes_as_a_whole_when_the_time_of_all_of_it_is_over():
    acts = [OPENED, SUSTAINED, LIFTED]
    longer = {**KEPT, "measure-moved": 20 * DAY}
    assert numbers(acts, 22.9 * DAY, longer) == []
    assert numbers(acts, 23 * DAY, longer) == [1, 2, 3]


def test_a_removal_never_goes_before_what_it_removed():
    longer = {**KEPT, "optout-added": 50 * DAY}
    acts = [OptOutAdded("c-1", "c2", "x"), OptOutRemoved("c-1", "c2", "x")]
    assert numbers(acts, 30 * DAY, longer) == []


def test_a_kind_that_is_kept_for_good_is_seen_all_the_same(tmp_path):
    write(tmp_path / "ledger.db", [OptOutAdded("c-1", "c2", "x"), OptOutRemoved("c-1", "c2", "x")])
    assert find_due(tmp_path / "ledger.db", {"optout-removed": DAY}, LATER) == [], "the opt-out would be in force again"


def test_a_kind_that_is_kept_for_good_is_never_erased():
    assert numbers([LOOKED_UP], LATER, {key: value for key, value in KEPT.items() if key != "looked-up"}) == []
    assert numbers([OPENED, SUSTAINED, LIFTED], LATER, {}) == []


def test_every_kind_with_a_retention_is_about_something():
    assert {act.kind for act in ACTS} >= set(RETENTION)
    assert set(RETENTION) == KINDS


def test_numbers_in_runs():
    assert runs([1, 2, 3, 7, 9, 10]) == [[1, 3], [7, 7], [9, 10]]
    assert runs([]) == []


NAMES = st.sampled_from(["a", "b"])
ANY = st.one_of(
    st.builds(OptOutAdded, NAMES, NAMES, NAMES, st.none() | st.floats(0, 40 * DAY)),
    st.builds(OptOutRemoved, NAMES, NAMES, NAMES),
    st.builds(CustomerAdded, NAMES, st.just({"id": "a"})),
    st.builds(CustomerRemoved, NAMES),
)
KEEP = st.fixed_dictionaries({}, optional={kind: st.sampled_from([1 * DAY, 5 * DAY, 20 * DAY]) for kind in RETENTION})


@given(st.lists(ANY, max_size=25), KEEP, st.floats(0, 80 * DAY))
def test_the_fold_without_what_was_erased_is_the_state_that_let_go_of_it(acts, retention, now):
    recorded = record(*acts)
    found = due(recorded, retention, now)
    gone = {number for one in found for number in one.numbers}
    state, again = State(), State()
    for one in recorded:
        state.apply(one)
        if one.number not in gone:
            again.apply(one)
    in_force = {(name, lists) for name in "ab" for lists in state.opted_out(name, now)}
    state.forget(one.subject for one in found if one.gone)
    assert (again.opt_outs, again.customers) == (state.opt_outs, state.customers)
    assert {(name, lists) for name in "ab" for lists in again.opted_out(name, now)} == in_force


def erase(path, now, retention=KEPT):
    """As the daemon does every day; returns how many payloads went, and the state left."""

    async def scenario():
        ledger = Ledger.open(path)
        found = await asyncio.to_thread(find_due, path, retention, now)
        try:
            return await ledger.erase(found, "sekishod", now), content(ledger.state)
        finally:
            await ledger.close()

    return asyncio.run(scenario())


ACTS_OF_A_LEDGER = [
    *(OptOutAdded(f"gone-{number}", "c2", "phone: 4711") for number in range(8)),
    *(OptOutRemoved(f"gone-{number}", "c2", "phone: 4712") for number in range(8)),
    OptOutAdded("stays", "c2", "phone"),
    OptOutAdded("ran-out", "c2", "phone", 2000.0),
]


def test_erased_content_is_gone_from_the_disk_and_the_chain_holds(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, ACTS_OF_A_LEDGER)
    count, left = erase(path, LATER)
    assert count == 17
    for file in tmp_path.iterdir():
        assert b"phone: 47" not in file.read_bytes(), file
        assert b"gone-1" not in file.read_bytes(), file
    checkpoint_of(path).unlink()
    with opened(path) as ledger:
        assert verify(ledger.events()) is None
        assert content(ledger.state) == left
        assert list(ledger.state.opt_outs) == ["stays"]
        last = list(ledger.events())[-1]
        assert (last.kind, last.actor) == ("payloads-erased", "sekishod")
        assert last.payload == b'{"count":17,"events":[[1,16],[18,18]],"through":18}'


def test_a_start_from_the_checkpoint_after_erasing_is_the_same(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, ACTS_OF_A_LEDGER)
    _, left = erase(path, LATER)
    assert checkpoint_of(path).exists()
    with opened(path) as ledger:
        assert content(ledger.state) == left


def test_what_was_erased_once_is_not_erased_again(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, ACTS_OF_A_LEDGER)
    assert erase(path, LATER)[0] == 17
    assert erase(path, LATER)[0] == 0
    with opened(path) as ledger:
        assert ledger.state.number == 19


def test_subjects_are_erased_whole_however_many_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "ERASED_AT_ONCE", 3)
    path = tmp_path / "ledger.db"
    write(path, ACTS_OF_A_LEDGER)
    assert erase(path, LATER)[0] == 17
    with opened(path) as ledger:
        assert list(ledger.state.opt_outs) == ["stays"]
        records = [event for event in ledger.events() if event.kind == "payloads-erased"]
        assert len(records) > 5


def test_erased_content_is_gone_from_the_disk_while_the_daemon_runs_on(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, ACTS_OF_A_LEDGER)

    async def scenario():
        ledger = Ledger.open(path)
        await ledger.checkpoint()
        await ledger.append(OptOutAdded("more", "c2", "phone"), ACTOR, 1.0)
        assert b"phone: 47" in path.read_bytes()
        await ledger.erase(find_due(path, KEPT, LATER), "sekishod", LATER)
        found = [file.name for file in tmp_path.iterdir() if b"phone: 47" in file.read_bytes()]
        await ledger.close()
        return found

    assert asyncio.run(scenario()) == []


def test_what_was_said_since_about_the_same_thing_counts(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, [OptOutAdded("c-1", "c2", "x", 2 * DAY)], at=DAY)
    write(path, [OptOutAdded("c-1", "c2", "y")], at=500 * DAY)
    assert find_due(path, KEPT, 505 * DAY) == []
    assert [(one.numbers, one.gone) for one in find_due(path, KEPT, 511 * DAY)] == [((1,), False)]


def test_an_act_written_meanwhile_by_a_clock_set_back_is_seen(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, [OptOutAdded("c-1", "c2", "x", 2 * DAY)], at=DAY)
    write(path, [OptOutAdded("c-1", "c2", "y")], at=500 * DAY)
    write(path, [OptOutAdded("c-2", "c2", "z", 2 * DAY)], at=DAY)
    assert [one.numbers for one in find_due(path, KEPT, 505 * DAY)] == [(3,)]
    assert [one.numbers for one in find_due(path, KEPT, 511 * DAY)] == [(1,), (3,)]


def test_an_erasure_the_disk_does_not_take_changes_nothing(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, ACTS_OF_A_LEDGER)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END")
        connection.commit()
    with opened(path) as ledger:
        before = content(ledger.state)
    with pytest.raises(LedgerError, match="nothing changed"):
        erase(path, LATER)
    with opened(path) as ledger:
        assert content(ledger.state) == before
        assert all(event.payload is not None for event in ledger.events())
