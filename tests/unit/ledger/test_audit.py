"""An auditor finds whatever was done to a ledger, and is told where."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.ledger.acts import encode
from sekisho.ledger.audit import Audit, exported, imported, names
from sekisho.ledger.chain import Head, genesis, link
from sekisho.model.events import CustomerAdded, FeedAccepted, OptOutAdded, PayloadsErased
from sekisho.model.measureacts import EmergencyDeclared
from unit.ledger.ledgers import ACTOR, chain_of, opt_outs

GOOD = chain_of(*opt_outs(12))
HEAD = Head(12, GOOD[-1].chain)
OTHER = encode(OptOutAdded("c-9", "child-abuse", "nobody"))


def audit(events, head=HEAD, known=()):
    one = Audit()
    for event in events:
        one.take(event)
        one.expect(event, known)
    one.finish(head, known)
    return one


def named(events, head=HEAD, known=()):
    return [one.number for one in audit(events, head, known).breaks]


def test_a_good_ledger_has_no_bad_event():
    assert named(GOOD) == []
    assert named([], Head(0, genesis())) == []
    assert named(GOOD, None) == []


CHANGES = st.sampled_from(
    [
        {"at_us": 7},
        {"actor": "uid:0(root)"},
        {"kind": "feed-accepted"},
        {"payload": OTHER},
        {"payload": b"{"},
        {"payload": None},
        {"payload_digest": bytes(32)},
        {"chain": bytes(32)},
        {"version": 2},
    ]
)


@given(st.integers(0, 11), CHANGES)
def test_any_single_change_is_found_and_named(place, change):
    events = [*GOOD]
    events[place] = replace(events[place], **change)
    assert named(events) == [place + 1]


@given(st.integers(0, 11), st.integers(1, 12))
def test_any_event_that_is_missing_is_found_and_named(place, count):
    left = [*GOOD[:place], *GOOD[place + count :]]
    assert named(left) == [place + 1]
    assert "is missing" in audit(left).breaks[0].reason


@given(st.integers(0, 11), st.integers(0, 11))
def test_any_two_events_that_changed_places_are_found_and_the_first_is_named(one, other):
    first, second = sorted((one, other))
    events = [*GOOD]
    events[first], events[second] = replace(GOOD[second], number=first + 1), replace(GOOD[first], number=second + 1)
    found = named(events)
    assert found[:1] == ([first + 1] if first != second else [])
    assert first == second or second + 1 in found


@given(st.integers(0, 11))
def test_any_event_put_in_is_found_and_named(place):
    """All behind it moved on by one, and it has digests of its own that are right."""
    before = GOOD[place - 1].chain if place else genesis()
    false = link(before, place + 1, 5, ACTOR, "optout-added", OTHER)
    events = [*GOOD[:place], false, *(replace(event, number=event.number + 1) for event in GOOD[place:])]
    assert named(events)[0] == place + (2 if place < 12 else 1)


def test_rows_in_another_order_are_found():
    assert named([GOOD[1], GOOD[0], *GOOD[2:]])[0] == 1


def test_a_ledger_that_was_written_anew_does_not_end_with_the_event_that_was_noted():
    acts = opt_outs(12)
    acts[4] = OptOutAdded("somebody-else", "c2", "phone")
    forged = chain_of(*acts)
    head = Head(12, forged[-1].chain)
    assert named(forged, head) == []
    assert named(forged, head, [HEAD]) == [12]
    assert named(forged, head, [Head(8, GOOD[7].chain)]) == [8]
    assert named(forged[:11], Head(11, forged[10].chain), [HEAD]) == [12]


def test_events_put_behind_the_last_one_are_found():
    assert named(GOOD, Head(10, GOOD[9].chain)) == [11]


def test_content_that_was_erased_on_record_is_no_fault():
    events = [*GOOD]
    for place in (1, 2, 5):
        events[place] = replace(events[place], payload=None)
    act = PayloadsErased(6, 3, [[2, 3], [6, 6]])
    events.append(link(GOOD[-1].chain, 13, 5, "sekishod", act.kind, encode(act)))
    head = Head(13, events[-1].chain)
    assert named(events, head) == []
    assert audit(events, head).erased == 3
    events[8] = replace(events[8], payload=None)
    assert named(events, head) == [9]
    events[3] = replace(events[3], payload=None)
    assert named(events, head) == [4, 9]


@given(st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)))
def test_what_is_gone_without_a_record_is_named_exactly(gone, recorded):
    events = [replace(event, payload=None) if event.number in gone else event for event in GOOD]
    act = PayloadsErased(12, len(recorded), [[number, number] for number in sorted(recorded)])
    events.append(link(GOOD[-1].chain, 13, 5, "sekishod", act.kind, encode(act)))
    one = audit(events, Head(13, events[-1].chain))
    covered = set()
    for found in one.breaks:
        last = int(found.reason.rpartition(" to ")[2].rstrip(")")) if " to " in found.reason else found.number
        covered |= set(range(found.number, last + 1))
    assert covered == gone - recorded


def test_an_export_can_be_verified_by_itself():
    lines = [json.dumps(exported(event)) for event in GOOD]
    assert [imported(json.loads(line)) for line in lines] == GOOD
    assert exported(GOOD[0]) == {
        "number": 1,
        "at": "1970-01-01T00:00:01.000000Z",
        "at_us": 1_000_000,
        "actor": ACTOR,
        "kind": "optout-added",
        "version": 1,
        "payload": {"customer": "c-0", "list": "c2", "by": "phone", "until": None},
        "erased": False,
        "payload_digest": GOOD[0].payload_digest.hex(),
        "chain": GOOD[0].chain.hex(),
    }
    gone = exported(replace(GOOD[0], payload=None))
    assert (gone["payload"], gone["erased"]) == (None, True)


def test_an_export_shows_what_was_put_in_the_place_of_an_event():
    assert exported(replace(GOOD[0], payload=b"\xff{"))["payload"] == "\ufffd{"
    assert exported(replace(GOOD[0], at_us=1 << 62))["at"].endswith(" us")


@pytest.mark.parametrize(
    ("act", "about"),
    [
        (OptOutAdded("c-1", "c2", "phone"), True),
        (OptOutAdded("c-11", "c-1", "phone"), False),
        (CustomerAdded("c-1", {"id": "c-1"}), True),
        (CustomerAdded("c-2", {"id": "c-1"}), False),
        (EmergencyDeclared(["gunma/19-1"], 5.0, ["c-1", "fire-brigade"], "earthquake"), True),
        (FeedAccepted("c2", "v1"), False),
    ],
)
def test_what_is_about_a_customer(act, about):
    assert names(chain_of(act)[0], "c-1") is about
    assert not names(replace(chain_of(act)[0], payload=None), "c-1")


def test_a_head_reads_back():
    assert Head.parse(str(HEAD)) == HEAD
    for text in ("", "12", "12:", "12:00", "x:" + "00" * 32, "-1:" + "00" * 32):
        with pytest.raises(ValueError, match=r".*"):
            Head.parse(text)
