"""The JSON Schema of every file an operator writes, generated from the models.

Editors check packs and configuration with it as they are typed. `make schema` writes the files
into `policies/`; a test holds them current.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

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


def json_schema(model: type[BaseModel] = PackFile) -> dict[str, object]:
    """The schema of one kind of file; of a terms pack unless told."""
    schema = model.model_json_schema(schema_generator=GenerateJsonSchema)
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
