"""The committed JSON Schemas."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest

from sekisho.model.clauses import Pack
from sekisho.terms.pack import RECORD_FIELDS, PackFile, RecordEntry
from sekisho.terms.schema import FILES, json_schema, main, texts

RULES = ("BlockEntry", "BudgetEntry", "MeasureEntry", "CreditEntry", "AnnouncementEntry", "DeliveryEntry", "EmergencyEntry")


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_committed_schema_is_current(root, name):
    assert (root / "policies" / name).read_text(encoding="utf-8") == texts()[name], "run `make schema` and commit what it writes"


def test_no_schema_is_committed_that_nobody_generates(root):
    assert {path.name for path in (root / "policies").glob("*.schema.json")} == set(FILES)


def test_the_schema_refuses_unknown_keys_everywhere():
    schema = json_schema()
    objects = [schema, *schema["$defs"].values()]
    assert all(one["additionalProperties"] is False for one in objects if one.get("type") == "object")
    assert schema["required"] == ["version", "pack", "document", "clauses"]


def test_every_key_of_a_pack_is_described():
    text = json.dumps(json_schema())
    for model in (*RULES, "TerminationEntry", "ClauseEntry", "DocumentEntry", "RecordEntry"):
        for name, field in json_schema()["$defs"][model]["properties"].items():
            assert "description" in field or "const" in field, f"{model}.{name}"
    assert PackFile.__name__ not in text or Pack.__name__ in text


def test_the_fields_of_a_record_are_one_closed_set():
    (choices,) = [get_args(inner) for inner in get_args(RecordEntry.model_fields["fields"].annotation) if get_args(inner)]
    assert choices == RECORD_FIELDS


def test_the_schemas_are_written_into_the_folder_named(tmp_path):
    assert main([str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert main([]) == 2


def test_the_handbook_explains_every_key_of_a_rule(root):
    handbook = (root / "policies/README.md").read_text(encoding="utf-8")
    for model in RULES:
        for name in json_schema()["$defs"][model]["properties"]:
            assert re.search(rf"`{name}[.`]", handbook) or name == "kind", name
