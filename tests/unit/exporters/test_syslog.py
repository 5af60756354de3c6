"""Syslog: messages as RFC 5424 has them, read back by its own grammar."""

from __future__ import annotations

import json
import re

import pytest

from sekisho.model.events import OptOutAdded, RecordedAct
from sekisho.model.measureacts import EmergencyDeclared, EnforcementHeld
from sekisho_exporters.cloudevents import envelope
from sekisho_exporters.syslog import Facility, message, octet_counted

GRAMMAR = re.compile(
    rb"<(?P<pri>[0-9]{1,3})>(?P<version>1) (?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{1,6}Z) (?P<host>[!-~]{1,255}) "
    rb"(?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) (?P<id>[!-~]{1,32}) (?P<data>\[meta sequenceId=\"[1-9][0-9]{0,9}\"\]) (?P<msg>.*)",
    re.DOTALL,
)


def event_of(act, number=41):
    return envelope(RecordedAct(number, 1_700_000_000.25, "uid:0(root)", act), "urn:sekisho")


def test_an_event_is_one_message_of_rfc_5424():
    event = event_of(OptOutAdded("c-1", "c2", "利用者"))
    found = GRAMMAR.fullmatch(message(event, "tokyo-1.example", Facility.LOCAL3))
    assert int(found["pri"]) == 19 * 8 + 5
    assert (found["time"], found["host"], found["app"], found["id"]) == (
        b"2023-11-14T22:13:20.250000Z",
        b"tokyo-1.example",
        b"sekisho",
        b"optout.added",
    )
    assert found["data"] == b'[meta sequenceId="41"]'
    assert found["msg"].isascii(), "text beyond ASCII would need a byte order mark"
    assert json.loads(found["msg"]) == event


def test_what_needs_someone_is_a_warning():
    found = GRAMMAR.fullmatch(message(event_of(EnforcementHeld("a mistake")), "host"))
    assert int(found["pri"]) == 16 * 8 + 4


@pytest.mark.parametrize(("number", "sequence"), [(1, 1), (2**31 - 1, 2**31 - 1), (2**31, 1)])
def test_the_sequence_id_stays_within_its_bounds(number, sequence):
    found = GRAMMAR.fullmatch(message(event_of(OptOutAdded("c-1", "c2", "c-1"), number), "host"))
    assert found["data"] == b'[meta sequenceId="%d"]' % sequence


@pytest.mark.parametrize(("hostname", "shown"), [("", b"-"), ("a b\nc", b"abc"), ("x" * 300, b"x" * 255)])
def test_the_host_is_printable_and_never_missing(hostname, shown):
    assert GRAMMAR.fullmatch(message(event_of(OptOutAdded("c-1", "c2", "c-1")), hostname))["host"] == shown


def test_an_event_too_long_for_the_way_comes_without_its_data_and_says_so():
    event = event_of(EmergencyDeclared(["gunma/19-1"], 1.0, [f"group-{number}" for number in range(2000)], "an earthquake"))
    one = message(event, "host", limit=2048)
    assert len(one) <= 2048
    said = json.loads(GRAMMAR.fullmatch(one)["msg"])
    assert said == {key: value for key, value in event.items() if key != "data"} | {"datadropped": "true"}


def test_a_frame_counts_octets():
    assert octet_counted("<1>1 é".encode()) == b"7 " + "<1>1 é".encode()
