"""What an older program wrote is read for what it says today."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import replace

import pytest

from sekisho.ledger.acts import STEPS, decode, encode, version_of
from sekisho.ledger.chain import digest_chain, genesis, link, verify
from sekisho.model.errors import LedgerError
from sekisho.model.events import ACTS, OptOutAdded
from unit.ledger.ledgers import chain_of, content, opened, opt_outs, write

SCHEMA_1 = """
CREATE TABLE events (
    number         INTEGER PRIMARY KEY,
    at_us          INTEGER NOT NULL,
    actor          TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    payload        BLOB,
    payload_digest BLOB    NOT NULL,
    chain          BLOB    NOT NULL
) STRICT;
CREATE TRIGGER events_stay BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER events_stand BEFORE UPDATE OF number, at_us, actor, kind, payload_digest, chain ON events
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER payloads_stand BEFORE UPDATE OF payload ON events WHEN NEW.payload IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
PRAGMA user_version = 1;
"""


def split_by(fields):
    """Version 2: who took the word and how were one field before."""
    how, _, who = fields.pop("by").partition(": ")
    return fields | {"how": how, "who": who}


def join_by(fields):
    """Version 3 has them in one again."""
    return {key: value for key, value in fields.items() if key not in {"how", "who"}} | {"by": f"{fields['who']} by {fields['how']}"}


def ledger_of_schema_1(path, acts):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA_1)
        rows = [(e.number, e.at_us, e.actor, e.kind, e.payload, e.payload_digest, e.chain) for e in chain_of(*acts)]
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.commit()


def test_every_kind_is_written_in_its_own_version():
    steps = {"optout-added": (split_by, join_by)}
    assert version_of("optout-added", steps) == 3
    assert version_of("optout-removed", steps) == 1
    assert set(STEPS) <= {act.kind for act in ACTS}


def test_an_old_version_is_taken_up_step_by_step():
    steps = {"optout-added": (split_by, join_by)}
    old = json.dumps({"customer": "c-1", "list": "c2", "by": "phone: desk", "until": None}).encode()
    newer = json.dumps({"customer": "c-1", "list": "c2", "how": "phone", "who": "desk", "until": None}).encode()
    wanted = OptOutAdded("c-1", "c2", "desk by phone")
    assert decode("optout-added", old, 1, steps) == wanted
    assert decode("optout-added", newer, 2, steps) == wanted
    assert decode("optout-added", encode(wanted), 3, steps) == wanted


@pytest.mark.parametrize("version", [0, 2, -1])
def test_a_version_of_a_newer_program_is_refused(version):
    with pytest.raises(LedgerError, match="version"):
        decode("optout-added", encode(OptOutAdded("c-1", "c2", "phone")), version)


def test_a_step_that_does_not_fit_what_is_written_is_a_sentence():
    with pytest.raises(LedgerError, match="fields"):
        decode("optout-added", b'{"customer":"c-1"}', 1, {"optout-added": (split_by,)})


def test_the_chain_covers_the_version():
    event = link(genesis(), 1, 5, "uid:0(root)", "optout-added", b"{}", 2)
    assert verify([event]) is None
    assert verify([replace(event, version=3)]).number == 1
    assert verify([replace(event, version=1)]).number == 1


def test_events_from_before_there_were_versions_keep_their_digests():
    wanted = "02ce068c1d65b289352220e8d384d220a028e0bea39758f2f44900de4b598b1a"
    found = digest_chain(genesis(), 1, 5, "uid:0(root)", "optout-added", bytes(32)).hex()
    assert found == wanted


def test_a_ledger_of_the_first_schema_is_brought_up_to_date(tmp_path):
    acts = opt_outs(20)
    ledger_of_schema_1(tmp_path / "old.db", acts)
    write(tmp_path / "new.db", acts, at=1.0)
    with opened(tmp_path / "old.db") as old, opened(tmp_path / "new.db") as new:
        assert content(old.state) == content(new.state)
        assert verify(old.events()) is None
        assert [event.chain for event in old.events()] == [event.chain for event in chain_of(*acts)]
    write(tmp_path / "old.db", [OptOutAdded("c-new", "c2", "web")])
    with opened(tmp_path / "old.db") as again:
        assert again.state.number == 21
        assert verify(again.events()) is None
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        for statement in ("DELETE FROM events", "UPDATE events SET version = 2"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_an_empty_ledger_of_the_first_schema_is_brought_up_to_date(tmp_path):
    ledger_of_schema_1(tmp_path / "old.db", [])
    with opened(tmp_path / "old.db") as old:
        assert old.state.number == 0
    write(tmp_path / "old.db", opt_outs(3))


def test_a_ledger_that_cannot_be_brought_up_to_date_stays_as_it_was(tmp_path):
    ledger_of_schema_1(tmp_path / "old.db", opt_outs(5))
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.execute("CREATE TABLE head (mine TEXT)")
    before = (tmp_path / "old.db").read_bytes()
    with pytest.raises(LedgerError), opened(tmp_path / "old.db"):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert "version" not in [row[1] for row in connection.execute("PRAGMA table_info(events)")]
    assert len((tmp_path / "old.db").read_bytes()) == len(before)
