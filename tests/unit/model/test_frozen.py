"""Frozen dataclasses that are made quickly behave as those of the standard library."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from sekisho.model import frozen


def library(monkeypatch: pytest.MonkeyPatch, *, quickly: bool) -> ModuleType:
    """A `dataclasses` of its own."""
    spec = importlib.util.spec_from_file_location("dataclasses_of_its_own", dataclasses.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    if quickly:
        module._frozen_get_del_attr, module._hash_fn = frozen._refusing, frozen._hashing  # type: ignore[attr-defined]
    return module


def made(monkeypatch: pytest.MonkeyPatch, *, quickly: bool) -> dict[str, type]:
    """The same classes, made one way or the other."""
    module = library(monkeypatch, quickly=quickly)

    @module.dataclass(frozen=True, slots=True)
    class Empty:
        """Without a field."""

    @module.dataclass(frozen=True, slots=True)
    class One:
        """One field."""

        a: float

    @module.dataclass(frozen=True)
    class Two:
        """Three, one of which does not count."""

        a: int
        b: str = "x"
        c: list[int] = module.field(default_factory=list, compare=False)

    @module.dataclass(frozen=True)
    class Three(Two):
        """With one more."""

        d: tuple[int, ...] = ()

    return {"empty": Empty, "one": One, "two": Two, "three": Three}


@pytest.mark.skipif(not hasattr(dataclasses, "_hash_fn"), reason="this Python makes them another way, and they are left to it")
def test_they_hash_compare_and_refuse_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, quick = made(monkeypatch, quickly=False), made(monkeypatch, quickly=True)
    values: dict[str, list[tuple[object, ...]]] = {
        "empty": [()], "one": [(1.5,), (2.5,)], "two": [(1,), (1, "y"), (2, "x", [3])], "three": [(1, "x", [], (4,)), (1,)],
    }  # fmt: skip
    for name, calls in values.items():
        for call in calls:
            ours, theirs = quick[name](*call), plain[name](*call)
            assert hash(ours) == hash(theirs), name
            assert ours == quick[name](*call)
            for change in (lambda one: setattr(one, "a", 1), lambda one: delattr(one, "a"), lambda one: setattr(one, "new", 1)):
                said = []
                for one in (ours, theirs):
                    with pytest.raises((AttributeError, TypeError)) as caught:
                        change(one)
                    said.append((type(caught.value).__name__, str(caught.value)))
                assert said[0] == said[1], name
    assert hash(quick["two"](1, "x", [1])) == hash(quick["two"](1, "x", [2])), "a field that is left out of comparisons"


def test_a_process_that_begins_makes_the_record_s_acts_so() -> None:
    text = """
from sekisho.app.process import begin
begin("x", "x", ["--config", "/dev/null"])
import copy, dataclasses, pickle
from sekisho.model.events import OptOutRemoved
fields = dataclasses.fields(OptOutRemoved)
one = OptOutRemoved(*map(str, range(len(fields))))
assert pickle.loads(pickle.dumps(one)) == one == copy.copy(one) == dataclasses.replace(one)
assert len({one, copy.copy(one)}) == 1
print(OptOutRemoved.__setattr__.__module__)
try:
    setattr(one, fields[0].name, "other")
except dataclasses.FrozenInstanceError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("sekisho.model.frozen\ncannot assign to field "), done.stderr
