"""Machine code is kept, found again without Numba, made anew when it is damaged, and does what the source says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sekisho.snapshot import keptcode
from sekisho.snapshot.compiling import COMPILED, LOAD_ONLY, NotKeptError, compiled
from sekisho.snapshot.digest import digest_names, finish, key_of
from sekisho.snapshot.keptcode import Kept, kinds_of

pytestmark = pytest.mark.skipif(not COMPILED, reason="is about compiled code")

SCRIPT = """
import sys
import numpy as np
from sekisho.snapshot.digest import digest_name, key_of
print(digest_name(b"\\x03www\\x07example\\x00", key_of(bytes(range(16)))), "numba" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(keptcode.VARIABLE, str(tmp_path / "code"))
    return tmp_path / "code"


def run(root: Path) -> tuple[str, bool]:
    """The digest of a name in a process of its own, and whether that process imported Numba."""
    command = [sys.executable, "-P", "-c", SCRIPT]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(root / "daemon")}, capture_output=True, text=True, check=True)
    value, _, imported = done.stdout.strip().rpartition(" ")
    return value, imported == "True"


def test_a_process_that_finds_its_code_kept_does_not_import_numba(folder: Path, root: Path) -> None:
    first, imported = run(root)
    assert imported, "there was none yet"
    assert list(folder.glob("_digest_names-*.code"))
    assert run(root) == (first, False)


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[:200] + b"\xff" + data[201:], lambda _: b""])
def test_damaged_code_is_made_anew_and_never_run(folder: Path, root: Path, damage: Any) -> None:
    whole, _ = run(root)
    (path,) = folder.glob("_digest_names-*.code")
    path.write_bytes(damage(path.read_bytes()))
    assert run(root) == (whole, True)
    assert run(root) == (whole, False)


@compiled
def _mix(flag, number, word, pair, octets, table):  # type: ignore[no-untyped-def]
    if number < 0:
        raise ValueError("negative")
    table[1, 2] = pair[1]
    return int(octets[-1]) + number + table.shape[0] * 10 + (1000 if flag else 0), word + pair[0]


@compiled
def _is_over(number):  # type: ignore[no-untyped-def]
    return number > 5


@compiled
def _is_big(number):  # type: ignore[no-untyped-def]
    return number > 5


@compiled
def _is_small(number):  # type: ignore[no-untyped-def]
    return number < 5


@compiled
def _allocates(count):  # type: ignore[no-untyped-def]
    return np.zeros(count, np.int64)


def mixed(number: int = 7) -> tuple[Any, ...]:
    octets = np.frombuffer(b"\1\2\3", np.uint8)
    return True, number, np.uint64(2**64 - 3), (np.uint64(2), np.uint64(2**63)), octets, np.zeros((2, 3), np.uint64)


def test_arguments_and_results_are_those_of_the_source(folder: Path) -> None:
    args = mixed()
    for _ in range(2):
        assert _mix(*args) == (1030, 2**64 - 1)
        assert args[-1][1, 2] == 2**63
        assert _is_over(6) is True
        assert _is_over(5) is False
        assert finish(*map(np.uint64, (1, 2, 3, 4))) == finish.dispatcher(*map(np.uint64, (1, 2, 3, 4)))
    assert Kept.of(_mix.py_func, kinds_of(args)).path.parent == folder  # type: ignore[union-attr]


@pytest.mark.usefixtures("folder")
def test_what_compiled_code_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="negative"):
        _mix(*mixed(-1))
    with pytest.raises(IndexError):
        digest_names(np.zeros(0, np.uint8), np.zeros(1, np.int64), *key_of(bytes(16)), np.zeros((1, 2), np.uint64), np.zeros(1, np.uint8))


def test_a_function_that_allocates_and_arguments_of_other_kinds_are_left_to_numba(folder: Path) -> None:
    assert _allocates(3).tolist() == [0, 0, 0]
    assert _is_over(np.float64(5.5))
    strided = np.arange(10, dtype=np.uint8)[::3]
    assert _mix(*mixed()[:4], strided, np.zeros((2, 3), np.uint64))[0] == 9 + 7 + 20 + 1000
    assert not folder.exists()


def test_code_that_cannot_be_written_runs_all_the_same(folder: Path) -> None:
    folder.write_text("no folder")
    assert _is_small(6) is False
    assert folder.read_text() == "no folder"


@pytest.mark.usefixtures("folder")
def test_where_only_kept_code_is_wanted_nothing_is_compiled() -> None:
    token = LOAD_ONLY.set(True)
    try:
        with pytest.raises(NotKeptError, match="_is_big"):
            _is_big(6)
    finally:
        LOAD_ONLY.reset(token)
    assert _is_big(6) is True


def test_code_of_other_types_is_another_file(folder: Path) -> None:
    names = {
        Kept.of(_is_over.py_func, kinds_of(args)).path.name  # type: ignore[union-attr]
        for args in [
            (1,),
            (np.uint64(1),),
            (True,),
            (np.zeros(1, np.uint8),),
            (np.zeros((1, 1), np.uint8),),
            (np.frombuffer(b"a", np.uint8),),
        ]
    }
    assert len(names) == 6
    assert not folder.exists()
