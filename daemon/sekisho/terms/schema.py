"""The JSON Schema of every file an operator writes, generated from the models.

Editors check packs and configuration with it as they are typed. `make schema` writes the files
into `policies/`; a test holds them current.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import sys
import textwrap
from pathlib import Path

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from sekisho.config.customers import CustomersFile
from sekisho.config.lists import ListsFile
from sekisho.config.settings import Settings
from sekisho.terms.pack import PackFile

FILES: dict[str, type[BaseModel]] = {
    "pack.schema.json": PackFile,
    "sekisho.schema.json": Settings,
    "lists.schema.json": ListsFile,
    "customers.schema.json": CustomersFile,
}


class _Described(GenerateJsonSchema):
    """The schema with the docstring of each field as its description."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        for name, text in _field_docstrings(model).items():
            made["properties"][model.model_fields[name].alias or name].setdefault("description", text)
        return made


def _field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The string that stands below each field of a model, by the field's name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    found = {}
    for field, below in itertools.pairwise(ast.iter_child_nodes(body)):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = inspect.cleandoc(ast.literal_eval(below.value))
    return found


def json_schema(model: type[BaseModel] = PackFile) -> dict[str, object]:
    """The schema of one kind of file; of a terms pack unless told."""
    schema = model.model_json_schema(schema_generator=_Described)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def texts() -> dict[str, str]:
    """Every schema as its file's text."""
    return {name: json.dumps(json_schema(model), indent=2, ensure_ascii=False) + "\n" for name, model in FILES.items()}


def main(arguments: list[str]) -> int:
    """Write the schemas into the folder named: the one place below `drivers` that writes a file, and no part of the daemon."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m sekisho.terms.schema FOLDER\n")
        return 2
    for name, text in texts().items():
        (Path(arguments[0]) / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
