"""The bounds the README states are the ones the program has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from sekisho.config.settings import Settings
from sekisho.model.lists import ListDefinition

ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<bound>[^|]+) \| (?P<where>[^|]+) \|[^|]+\|$", re.MULTILINE)
NAMED = re.compile(r"`((?:[a-z_]+\.)+(?:[A-Z][A-Za-z]+\.[a-z_]+|_?[A-Z_]+))`(?: = (\d+))?")


def test_every_figure_is_the_constants(root: Path) -> None:
    text = (root / "daemon" / "README.md").read_text().partition("## Bounds")[2].partition("\n## ")[0]
    checked = 0
    for row in ROW.finditer(text):
        figures = re.findall(r"\d+", row["bound"])
        for (path, given), figure in zip(NAMED.findall(row["where"]), figures, strict=False):
            assert value_of(path) == int(given or figure), row["what"]
            checked += 1
    assert checked >= 16, "the table was read"


def value_of(path: str) -> object:
    """Of a module's constant, or of the default of a dataclass's field."""
    owner, _, name = path.rpartition(".")
    module, _, kind = owner.rpartition(".")
    if kind[0].isupper():
        return getattr(importlib.import_module(f"sekisho.{module}"), kind).__dataclass_fields__[name].default
    return getattr(importlib.import_module(f"sekisho.{owner}"), name)


def test_the_defaults_of_keys_are_as_stated() -> None:
    assert Settings.model_fields["cache"].default.mib == 64
    assert ListDefinition.__dataclass_fields__["max_bytes"].default == 1 << 30
    assert any(getattr(one, "le", None) == 128 for one in Settings.model_fields["workers"].metadata), "workers"
