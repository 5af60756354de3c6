"""Frozen dataclasses made in two thirds of the time: a start makes four hundred, most of them of this folder.

Owns nothing but that. Python 3.11 and 3.12 write the methods of each class as text and compile them. Those that refuse
a change and that hash differ between classes in the names of fields alone, so that one function for all does the same.
A later Python, which makes them another way, is left as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

_REFUSING, _HASHING = "_frozen_get_del_attr", "_hash_fn"


def make_quickly() -> None:
    """From now on, in this process."""
    if hasattr(dataclasses, _REFUSING) and hasattr(dataclasses, _HASHING):
        setattr(dataclasses, _REFUSING, _refusing)
        setattr(dataclasses, _HASHING, _hashing)


def _refusing(cls: Any, fields: Sequence[dataclasses.Field[Any]], _: object) -> tuple[Callable[..., None], Callable[..., None]]:
    names = frozenset(field.name for field in fields)

    def __setattr__(self: Any, name: str, value: object) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return __setattr__, __delattr__


def _hashing(fields: Sequence[dataclasses.Field[Any]], _: object) -> Callable[[Any], int]:
    names = [field.name for field in fields]
    if len(names) < 2:
        # Of one name `attrgetter` gives no tuple, and for none there is none.
        return lambda self: hash(tuple([getattr(self, name) for name in names]))
    values = attrgetter(*names)

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    return __hash__
