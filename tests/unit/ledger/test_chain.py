"""The chain: what it proves, and what it lets go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sekisho.ledger.acts import decode, encode, recorded
from sekisho.ledger.chain import Event, genesis, link, verify
from sekisho.model.errors import LedgerError
from sekisho.model.events import ACTS, CustomerAdded, ExceptionAdded, OptOutAdded, OptOutRemoved

ACT = OptOutAdded("c-1", "c2", "電話", None)


def chain_of(count: int) -> list[Event]:
    events: list[Event] = []
    previous = genesis()
    for number in range(1, count + 1):
        act = OptOutAdded(f"c-{number}", "c2", "phone", None)
        events.append(link(previous, number, 1_000_000 * number, "uid:0(root)", act.kind, encode(act)))
        previous = events[-1].chain
    return events


def test_a_ledger_as_it_was_written_verifies():
    assert verify(chain_of(5)) is None
    assert verify([]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "uid:1000(someone)"},
        {"at_us": 7},
        {"kind": "optout-removed"},
        {"payload": encode(OptOutAdded("c-2", "child-abuse", "phone", None))},
        {"payload_digest": bytes(32)},
        {"chain": bytes(32)},
    ],
)
def test_an_event_changed_afterwards_is_named(change):
    events = chain_of(4)
    events[1] = replace(events[1], **change)
    found = verify(events)
    assert found is not None
    assert found.number == 2


def test_a_dropped_event_is_named():
    events = chain_of(4)
    del events[2]
    assert verify(events).number == 3


def test_two_events_that_changed_places_are_named():
    events = chain_of(4)
    events[1], events[2] = replace(events[2], number=2), replace(events[1], number=3)
    assert verify(events).number == 2


def test_personal_content_is_erasable_and_the_chain_still_verifies():
    events = chain_of(4)
    events[1] = replace(events[1], payload=None)
    assert verify(events) is None
    assert recorded(events[1]) is None


def test_one_act_has_one_encoding():
    assert encode(ACT) == '{"by":"電話","customer":"c-1","list":"c2","until":null}'.encode()
    record: dict[str, object] = {"b": 1, "a": [1, 2]}
    assert encode(CustomerAdded("c-1", record)) == encode(CustomerAdded("c-1", {"a": [1, 2], "b": 1}))


@pytest.mark.parametrize(
    "act", [ACT, CustomerAdded("c-1", {"id": "c-1"}), ExceptionAdded("c2", "00" * 16, 3, 1), OptOutRemoved("c", "l", "b")]
)
def test_acts_read_back_as_they_were(act):
    assert decode(act.kind, encode(act)) == act


def test_every_act_has_a_kind_of_its_own():
    assert len({act.kind for act in ACTS}) == len(ACTS)


def test_acts_of_another_version_are_refused_and_not_guessed():
    with pytest.raises(LedgerError, match="does not know"):
        decode("measure-opened", b"{}")
    with pytest.raises(LedgerError, match="fields"):
        decode("optout-added", b'{"customer":"c-1","list":"c2","by":"x","channel":"web"}')


def test_content_that_json_cannot_carry_is_refused():
    with pytest.raises(LedgerError):
        encode(OptOutAdded("c-1", "c2", "phone", float("nan")))
