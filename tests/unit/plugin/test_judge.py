"""Machine code that was made for another caller is not called."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.drivers.plugincode import about
from sekisho.model.errors import TableError
from sekisho.plugin.judge import Judge
from sekisho.snapshot.machinecode import pack_code


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"convention": 1}, "another release"),
        # As files of releases are that had no such number.
        ({"convention": None}, "another release"),
        ({"processor": "another"}, "another kind of processor"),
    ],
)
def test_code_of_another_release_or_processor_is_refused_with_what_to_do(tmp_path: Path, change: dict[str, object], why: str) -> None:
    path = tmp_path / "verdict.code"
    path.write_bytes(pack_code({key: value for key, value in (about() | change).items() if value is not None}, b"no code"))
    with pytest.raises(TableError, match=f"{why}.*sekisho plugin config"):
        Judge(path)
