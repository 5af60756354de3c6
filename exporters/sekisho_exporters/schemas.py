"""JSON Schema of every event type, generated from the acts of the model.

One file a type, of its `data`, and `envelope.json` of what is around it: `exporters/schemas/`. `make schema`
writes them; a test holds them current.
"""

from __future__ import annotations

import enum
import inspect
import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from sekisho.model.events import Act
from sekisho.model.eventtypes import WORDS
from sekisho.model.measureacts import MeasureMoved, MeasureOpened
from sekisho.model.measures import Cause, Detector
from sekisho.model.publication import PUBLISHED, published_fields, type_of
from sekisho_exporters.cloudevents import SPEC_VERSION, schema_id

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: Mapping[object, str] = {str: "string", bool: "boolean", int: "integer", float: "number", object: ""}
_WORDS: Mapping[tuple[type[Act], str], type[enum.StrEnum]] = {
    (MeasureOpened, "detector"): Detector,
    (MeasureMoved, "cause"): Cause,
}
"""Fields that are text to the ledger and words of a closed set to the reader."""
_TIMES = ("at", "since", "until", "deemed_at")


def texts() -> dict[str, str]:
    """Every schema as its file's text, by the file's name."""
    found = {"envelope.json": envelope_schema()} | {f"{type_of(word)}.json": data_schema(word) for word in WORDS}
    return {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in found.items()}


def data_schema(word: str) -> Schema:
    """The schema of a type's `data`. Where acts of two kinds have the type, it is that of either."""
    acts = [act for act, published in PUBLISHED.items() if word in published.words]
    schemas = [_act_schema(act, word) for act in acts]
    head: Schema = {"$schema": DIALECT, "$id": schema_id(word), "title": type_of(word)}
    return head | (schemas[0] if len(schemas) == 1 else {"anyOf": schemas})


def envelope_schema() -> Schema:
    """The schema of an event without what its type says of `data`."""
    some = {"type": "string", "minLength": 1}
    return {
        "$schema": DIALECT,
        "$id": "urn:sekisho:event:envelope",
        "title": "A CloudEvents 1.0 event of Sekisho",
        "type": "object",
        "properties": {
            "specversion": {"const": SPEC_VERSION},
            "id": {"type": "string", "pattern": "^[1-9][0-9]*$", "description": "Number of the act in the ledger."},
            "source": some | {"description": "The checkpoint, as its operator names it."},
            "type": {"enum": [type_of(word) for word in WORDS]},
            "time": {"type": "string", "format": "date-time", "description": "When it was recorded, in UTC."},
            "subject": some | {"description": "The customer, else the list, it is about."},
            "datacontenttype": {"const": "application/json"},
            "dataschema": {"enum": [schema_id(word) for word in WORDS]},
            "sequence": {"type": "string", "pattern": "^[0-9]{20}$", "description": "The number again, to be sorted as text."},
            "actor": {"type": "string", "description": "Who did it, as the ledger says."},
            "partitionkey": some | {"description": "The customer: events with one key come in order."},
            "datadropped": {"const": "true", "description": "`data` was longer than the way there takes, and is missing."},
            "data": {"type": "object"},
        },
        "required": ["specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "sequence", "actor"],
        "additionalProperties": False,
    }


def _act_schema(act: type[Act], word: str) -> Schema:
    hints = get_type_hints(act)
    names = published_fields(act)
    properties: Schema = {}
    for name in names:
        words = _WORDS.get((act, name))
        properties[name] = {"enum": [one.value for one in words]} if words else _schema_of(hints[name])
        if name in _TIMES:
            properties[name] |= {"description": "UNIX seconds."}
    if PUBLISHED[act].by_state:
        properties["state"] = {"const": word.partition(".")[2]}
    described = {} if (text := inspect.getdoc(act)) is None or text.startswith(act.__name__) else {"description": " ".join(text.split())}
    return described | {"type": "object", "properties": properties, "required": list(names), "additionalProperties": False}


def _schema_of(hint: Any) -> Schema:
    """A field's annotation as a schema. Raises TypeError for one the acts have not had yet."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        kinds = ["null" if one is type(None) else _SIMPLE[one] for one in inner]
        return {"type": kinds}
    if origin is list:
        return {"type": "array", "items": _schema_of(inner[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(inner[1])}
    if hint not in _SIMPLE:
        raise TypeError(f"no JSON Schema is known for {hint!r}; teach it here")
    return {"type": _SIMPLE[hint]} if _SIMPLE[hint] else {}


def main(arguments: list[str]) -> int:
    """Write the schemas into the folder named; no part of the daemon."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m sekisho_exporters.schemas FOLDER\n")
        return 2
    for name, text in texts().items():
        (Path(arguments[0]) / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
