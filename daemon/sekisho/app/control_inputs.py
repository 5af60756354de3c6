"""What a snapshot is built of: lists, profiles, exceptions, grounds and garden, as they were when its build began.

Owns gathering the exceptions, building, and the fingerprint by which a saved snapshot is known to say the same. Not when
one is built, nor when it comes in force (`control_tables`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sekisho.lists.compile import version_of
from sekisho.model.clauses import Profile
from sekisho.model.events import ExceptionAdded
from sekisho.model.lists import ListDefinition
from sekisho.snapshot.build import Exemption, Garden, build
from sekisho.snapshot.digest import Key, digest_name
from sekisho.snapshot.entries import CompiledList
from sekisho.snapshot.layout import CHECK_NAME, SNAPSHOT_VERSION


class Compiled(Protocol):
    """Who knows the lists in force."""

    def compiled(self, definition: ListDefinition) -> CompiledList: ...


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a snapshot is built of, as it was when the build began."""

    epoch: int
    lists: tuple[tuple[ListDefinition, CompiledList], ...]
    profiles: tuple[Profile, ...]
    exceptions: tuple[Exemption, ...]
    key: Key
    grounds: tuple[str, ...] = ()
    garden: Garden | None = None


def make(inputs: Inputs) -> bytearray:
    """The snapshot."""
    return build(inputs.epoch, inputs.lists, inputs.profiles, inputs.exceptions, inputs.key, grounds=inputs.grounds, garden=inputs.garden)


def exemptions(lists: Sequence[ListDefinition], exceptions: Mapping[str, Mapping[str, ExceptionAdded]]) -> tuple[Exemption, ...]:
    """The operator's exceptions on the lists that are defined."""
    return tuple(
        Exemption(definition.order, int(act.digest[:16], 16), int(act.digest[16:], 16), act.depth, act.triggers)
        for definition in lists
        for act in exceptions.get(definition.id, {}).values()
    )


def fingerprint(inputs: Inputs) -> str:
    """Equal for snapshots that say the same, whatever their epoch: everything that goes into a build, digested."""
    state = hashlib.blake2b(digest_size=16)
    for definition, compiled in inputs.lists:
        state.update(f"{definition!r} {version_of(compiled)}\n".encode())
    told = inputs.profiles, inputs.exceptions, inputs.grounds, inputs.garden, digest_name(CHECK_NAME, inputs.key)
    state.update(repr((SNAPSHOT_VERSION, *told)).encode())
    return state.hexdigest()
