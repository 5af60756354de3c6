"""One act of every kind, and of every state a kind can be in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, get_type_hints

from sekisho.model.events import ACTS, Act, RecordedAct
from sekisho.model.measures import Cause, Detector
from sekisho.model.publication import PUBLISHED

AT = 1_700_000_000.25
ACTOR = "uid:1000(operator)"
MARK = "withheldmark"
"""Part of what no event may carry, in every field that is withheld."""


def _value(name: str, hint: Any, empty: bool) -> Any:
    words: dict[str, Any] = {"detector": Detector.DNS_OVERLOAD, "cause": Cause.URGENT, "customer": "c-1", "list": "c2", "state": "sent"}
    if name in words:
        return words[name]
    optional = type(None) in getattr(hint, "__args__", ())
    if optional and empty:
        return None
    kinds: dict[Any, Any] = {str: "a word", int: 7, float: AT + 60, bool: True, float | None: AT + 60, int | None: 53}
    if hint in kinds:
        return kinds[hint]
    if hint == list[list[int]]:
        return [[1, 2], [4, 4]]
    return ["one", "two"] if getattr(hint, "__origin__", None) is list else {"count": 7, "share": 0.5, "word": "nxdomain"}


def act_of(kind: type[Act], *, empty: bool = False, **values: Any) -> Act:
    """An act with something in every field, or with nothing in those that may be None."""
    hints = get_type_hints(kind)
    filled = {one.name: _value(one.name, hints[one.name], empty) for one in dataclasses.fields(kind)}
    withheld = PUBLISHED[kind].withheld if kind in PUBLISHED else ()
    for name in withheld:
        filled[name] = {"contact": MARK} if isinstance(filled[name], dict) else f"of {MARK}.example" if hints[name] is str else filled[name]
    return kind(**filled | values)


def published_acts() -> Iterator[tuple[str, RecordedAct]]:
    """(word of the type, act) for every act that is published, in every state, full and empty."""
    number = 0
    for kind, published in PUBLISHED.items():
        for word in published.words:
            for empty in (False, True):
                number += 1
                state = {"state": word.partition(".")[2]} if published.by_state else {}
                yield word, RecordedAct(number, AT, ACTOR, act_of(kind, empty=empty, **state))


def every_kind() -> tuple[type[Act], ...]:
    return ACTS
