"""What the plugin looks at in Unbound's memory: in a release, and a state, that is known, and nowhere else."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from sekisho.plugin import unboundstate
from sekisho.plugin.unboundstate import Insides

KNOWN, GAP = "1.17.1", 56


def insides(folder: Path, release: str) -> tuple[Insides, list[str]]:
    program = folder / "unbound"
    program.write_bytes(b"\0text\0unbound " + release.encode() + b"\0more\0")
    said: list[str] = []
    return Insides(said.append, program), said


def a_state(clients: int) -> tuple[SimpleNamespace, ctypes.Array[ctypes.c_char]]:
    """A state whose list of clients, behind its end, is at an address; and the memory it stands in."""
    memory = ctypes.create_string_buffer(GAP + 8)
    ctypes.c_uint64.from_buffer(memory, GAP).value = clients
    listed = SimpleNamespace(reply_list=SimpleNamespace(this=4096))
    return SimpleNamespace(edns_opts_front_out=ctypes.addressof(memory), mesh_info=listed), memory


def is_dropped(memory: ctypes.Array[ctypes.c_char]) -> bool:
    return ctypes.c_int.from_buffer(memory, GAP - 4).value == 1


def test_a_known_release_leaves_a_query_unanswered(tmp_path: Path) -> None:
    one, said = insides(tmp_path, KNOWN)
    state, memory = a_state(4096)
    one.drop(state)
    assert is_dropped(memory)
    assert said == []


@pytest.mark.parametrize("release", ["1.17.2", "1.9.0", "1.17.1rc1", ""])
def test_of_another_release_nothing_is_touched_which_is_said_once(tmp_path: Path, release: str) -> None:
    one, said = insides(tmp_path, release)
    state, memory = a_state(4096)
    for _ in range(2):
        one.drop(state)
        assert not one.is_stream(object()), "a client that is not looked at"
    assert bytes(memory[:GAP]) == bytes(GAP)
    assert len(said) == 1
    assert "gets REFUSED" in said[0]


def test_of_a_state_that_is_not_as_it_should_be_nothing_is_touched_which_is_said_once(tmp_path: Path) -> None:
    one, said = insides(tmp_path, KNOWN)
    for _ in range(2):
        state, memory = a_state(8192)
        one.drop(state)
        assert bytes(memory[:GAP]) == bytes(GAP)
    assert len(said) == 1
    assert "this build of Unbound" in said[0]


def test_on_a_machine_of_another_word_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unboundstate, "_WORD", 4)
    one, said = insides(tmp_path, KNOWN)
    state, memory = a_state(4096)
    one.drop(state)
    assert not is_dropped(memory)
    assert len(said) == 1
