"""Events out: every change of state has its event, each is what its schema says, and none says what is secret."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from pathlib import Path

import jsonschema
import pytest

from sekisho.model.events import ACTS, ExceptionAdded, FeedAccepted, OptOutAdded, RecordedAct
from sekisho.model.eventtypes import GROUPS, WORDS
from sekisho.model.measureacts import MeasureMoved
from sekisho.model.measures import MeasureState
from sekisho.model.noticeacts import LookedUp
from sekisho.model.publication import PUBLISHED, UNPUBLISHED, type_of, word_of, words_named
from sekisho_exporters.cloudevents import encode, encode_batch, envelope, schema_id, timestamp
from sekisho_exporters.schemas import data_schema, envelope_schema, main, texts
from unit.exporters import acts

SOURCE = "urn:sekisho:tokyo-1"
SCHEMAS = Path(__file__).resolve().parents[3] / "exporters" / "schemas"
CASES = list(acts.published_acts())


def event_of(recorded: RecordedAct) -> dict:
    """The event as a receiver reads it."""
    return json.loads(encode(envelope(recorded, SOURCE)))


def validator(schema: dict) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def test_every_act_is_published_or_said_why_not():
    assert set(PUBLISHED) | set(UNPUBLISHED) == set(ACTS)
    assert not set(PUBLISHED) & set(UNPUBLISHED)


def test_the_set_of_types_is_what_the_acts_are_published_as():
    assert list(WORDS) == list(dict.fromkeys(word for published in PUBLISHED.values() for word in published.words))


def test_every_state_of_a_measure_has_a_type_of_its_own():
    assert {word_of(MeasureMoved("m-1", "c-1", state, "urgent")) for state in MeasureState} == {
        f"measure.{state}" for state in MeasureState
    }
    assert type_of("measure.in-force") == "jp.sekisho.measure.in-force.v1"


@pytest.mark.parametrize(("word", "recorded"), CASES, ids=lambda value: value if isinstance(value, str) else str(value.number))
def test_every_act_is_as_its_committed_schema_says(word, recorded):
    event = event_of(recorded)
    assert event["type"] == type_of(word)
    validator(json.loads((SCHEMAS / "envelope.json").read_text())).validate(event)
    schema = json.loads((SCHEMAS / f"{event['type']}.json").read_text())
    assert schema["$id"] == event["dataschema"]
    validator(schema).validate(event["data"])


@pytest.mark.parametrize(("word", "recorded"), CASES[::2], ids=lambda value: value if isinstance(value, str) else str(value.number))
def test_a_schema_refuses_what_its_type_does_not_say(word, recorded):
    data = event_of(recorded)["data"]
    check = validator(data_schema(word))
    assert not check.is_valid(data | {"name": "asked.example"})
    for name in data:
        assert not check.is_valid({key: value for key, value in data.items() if key != name})


def test_the_committed_schemas_are_current_and_no_other_lies_there():
    assert {path.name: path.read_text(encoding="utf-8") for path in SCHEMAS.iterdir()} == texts(), "run `make schema` and commit it"


def test_the_schemas_are_written_into_the_folder_named(tmp_path):
    assert main([str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"envelope.json", *(f"{type_of(word)}.json" for word in WORDS)}
    assert main([]) == 2


def test_no_event_has_what_is_withheld():
    seen = 0
    for _, recorded in CASES:
        withheld = PUBLISHED[type(recorded.act)].withheld
        seen += any(acts.MARK in str(getattr(recorded.act, name)) for name in withheld)
        event = event_of(recorded)
        assert acts.MARK not in json.dumps(event)
        assert not set(withheld) & set(event["data"])
    assert seen, "the samples have something to withhold"


def test_an_exception_on_a_list_tells_its_digest_and_no_name():
    act = ExceptionAdded("c2", "00ff" * 8, 3, 1, "overblocked.example", "asked for by the holder of overblocked.example")
    event = event_of(RecordedAct(4, acts.AT, acts.ACTOR, act))
    assert "overblocked" not in json.dumps(event)
    assert event["data"] == {"list": "c2", "digest": "00ff" * 8, "depth": 3, "triggers": 1}
    assert event["subject"] == "c2"
    assert "partitionkey" not in event


def test_whose_address_it_was_is_told_to_nobody():
    act = LookedUp("192.0.2.1", 4000, acts.AT, "a report", "gunma/38", "c-1", "found")
    assert envelope(RecordedAct(4, acts.AT, acts.ACTOR, act), SOURCE) is None


def test_an_event_is_about_its_customer_and_keeps_the_place_in_the_record():
    event = event_of(RecordedAct(41, 1_700_000_000.25, acts.ACTOR, OptOutAdded("c-1", "c2", "c-1")))
    assert event == {
        "specversion": "1.0",
        "id": "41",
        "source": SOURCE,
        "type": "jp.sekisho.optout.added.v1",
        "time": "2023-11-14T22:13:20.250000Z",
        "subject": "c-1",
        "datacontenttype": "application/json",
        "dataschema": schema_id("optout.added"),
        "sequence": "00000000000000000041",
        "actor": acts.ACTOR,
        "partitionkey": "c-1",
        "data": {"customer": "c-1", "list": "c2", "by": "c-1", "until": None},
    }


def test_what_is_about_a_list_has_it_as_subject_and_what_is_about_all_has_none():
    assert event_of(RecordedAct(1, acts.AT, acts.ACTOR, FeedAccepted("c2", "v")))["subject"] == "c2"
    (held,) = {word: recorded for word, recorded in CASES if word == "enforcement.held"}.values()
    assert "subject" not in event_of(held)


def test_attributes_follow_the_naming_of_cloudevents():
    for _, recorded in CASES:
        for name, value in event_of(recorded).items():
            assert re.fullmatch(r"[a-z0-9]{1,20}", name)
            assert value != ""


def test_time_is_rfc_3339_to_the_microsecond():
    for at in (0.0, 1_700_000_000.000001, 4_102_444_799.999999):
        text = timestamp(at)
        assert dt.datetime.fromisoformat(text).timestamp() == pytest.approx(at, abs=1e-6)
        assert text.endswith("Z")


def test_a_batch_is_a_list_of_the_same_events():
    some = [envelope(recorded, SOURCE) for _, recorded in CASES[:3]]
    assert json.loads(encode_batch(some)) == some


def test_an_event_stands_on_one_line_whatever_is_in_it():
    event = envelope(RecordedAct(1, acts.AT, acts.ACTOR, OptOutAdded("c-1", "c2", "利用者\n\u2028")), SOURCE)
    assert b"\n" not in encode(event)
    assert encode(event, ascii_only=True).isascii()
    assert json.loads(encode(event, ascii_only=True)) == json.loads(encode(event)) == event


def test_words_are_named_one_by_one_or_by_their_group():
    assert words_named([]) == set(WORDS)
    assert words_named(["measure"]) == {word for word in WORDS if word.startswith("measure.")}
    assert words_named(["notice.sent", "optout"]) == {"notice.sent", "optout.added", "optout.removed"}
    assert "measure" in GROUPS


def test_the_readme_lists_every_type_and_what_it_carries():
    text = (SCHEMAS.parent / "README.md").read_text(encoding="utf-8")
    for kind, published in PUBLISHED.items():
        withheld = ", ".join(f"`{name}`" for name in published.withheld)
        for word in published.words:
            names = ", ".join(f"`{one.name}`" for one in dataclasses.fields(kind) if one.name not in published.withheld)
            assert f"| `{word}` | {names} | {withheld} |" in text


def test_the_envelope_knows_every_type():
    assert envelope_schema()["properties"]["type"]["enum"] == [type_of(word) for word in WORDS]
