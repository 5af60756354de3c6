"""Format `adblock`: the rules of filter lists that say something about a whole name.

`||name^` becomes an entry, of the scope that the definition gives; `$important` and `$all` say
nothing DNS could not keep. `@@||name^` becomes an exception: this list does not hold the name,
whatever other rule of it would. Everything else speaks of paths, elements or page contexts, which
a resolver cannot see: it is counted and named, never widened to a whole name.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from sekisho.lists import domains, idn
from sekisho.lists.rows import EXCEPT, Rows, Tally
from sekisho.lists.scan import cursor_at, drive, odd_text, scan_adblock, start_of_text
from sekisho.model.lists import Scope, Trigger

_RULE = re.compile(r"(?P<excepted>@@)?\|\|(?P<name>[^\s/^$|]+)\^(?:\$(?P<options>.+))?")
_COSMETIC = re.compile(r"#@?[?$%]{0,2}@?#")
_HARMLESS = frozenset({"important", "all"})


def read(data: NDArray[np.uint8], scope: Scope, rows: Rows, tally: Tally) -> None:
    """Read a feed into `rows`."""
    plain, wild = domains.triggers_of(scope)
    cursor = cursor_at(start_of_text(data))
    for line, start, end in drive(scan_adblock, data, cursor, rows, plain, wild):
        text = ""
        try:
            text = odd_text(data, start, end).strip()
            _read_rule(text, line, scope, rows, tally)
        except ValueError as error:
            tally.skip(line, str(error), text)


def _read_rule(text: str, line: int, scope: Scope, rows: Rows, tally: Tally) -> None:
    kind = _unkept(text)
    if kind is not None:
        if kind:
            tally.leave(line, kind, text)
        return
    match = _RULE.fullmatch(text)
    if match is None:
        tally.leave(line, "adblock rule that is not about a whole name", text)
        return
    options = {option.strip() for option in (match["options"] or "").split(",")} - {""}
    if options - _HARMLESS:
        tally.leave(line, "adblock rule with options", text)
        return
    if not match["excepted"]:
        domains.add_name(match["name"], line, scope, rows)
    elif match["name"].startswith("*."):
        rows.add(idn.to_wire(match["name"][2:]), line, Trigger.BELOW, EXCEPT)
    else:
        rows.add(idn.to_wire(match["name"]), line, Trigger.EXACT | Trigger.BELOW, EXCEPT)


def _unkept(text: str) -> str | None:
    """The kind of a line that is no rule about names; empty for comments; None for others."""
    if not text or text[0] == "!" or text == "#" or text.startswith("# ") or (text[0] == "[" and text[-1] == "]"):
        return ""
    if _COSMETIC.search(text):
        return "adblock cosmetic rule"
    return None
