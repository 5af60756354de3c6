"""What measures want of the kernel: lines of customers → its state.

Owns which tables an address goes to. An address that two customers say is theirs is nobody's here: whatever was done
to it would reach the other one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

from sekisho.enforce.state import Class, Role, State, Table, class_word, limit_name, number_of, on_wire, place_of
from sekisho.model.customers import Prefix
from sekisho.model.measures import Enforcement


@dataclass(frozen=True, slots=True)
class Where:
    """Where lines are limited, and by what."""

    down: tuple[str, ...] = ()
    """Devices towards the customers."""
    up: str = ""
    """The device that what comes from them is led through."""
    roles: frozenset[Role] = frozenset(Role)
    """What is done at all."""


class Line(NamedTuple):
    """One customer's: the addresses it has now, and what is done to them together. `number` 0: nothing that needs one."""

    prefixes: tuple[Prefix, ...]
    what: Enforcement
    number: int = 0
    counted: bool = False


def line_of(prefixes: Iterable[Prefix], what: Enforcement, number: int = 0, *, counted: bool = False) -> Line:
    return Line(outermost(prefixes), what, number, counted)


def outermost(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The prefixes less those that lie in another of them."""
    given = tuple(prefixes)
    if len(given) < 2:
        return given
    kept: list[Prefix] = []
    for one in sorted(set(given)):
        last = kept[-1] if kept else None
        if last is None or last.length > one.length or (one.value ^ last.value) >> (128 - last.length):
            kept.append(one)
    return tuple(kept)


def needs_number(what: Enforcement) -> bool:
    return what.rate is not None or bool(what.mail)


def contested(lines: Iterable[Line]) -> frozenset[Prefix]:
    """Prefixes that several lines have."""
    given = [prefix for line in lines for prefix in line.prefixes]
    if len(set(given)) == len(given):
        return frozenset()
    return frozenset(prefix for prefix, many in Counter(given).items() if many > 1)


def state_of(lines: Iterable[Line], where: Where, but: Collection[Prefix] = ()) -> State:
    """The kernel as the lines want it; `but` are prefixes nothing is done to."""
    entries: dict[Table, dict[bytes, str]] = {}
    limits: dict[str, int] = {}
    classes: dict[Class, int] = {}
    last: Line | None = None
    given: tuple[tuple[Role, str], ...] = ()
    for line in lines:
        what, number = line.what, line.number
        # Most lines have the same on them, and nothing that needs a number.
        if last is None or number or last.number or line.counted is not last.counted or (what is not last.what and what != last.what):
            given = _given(line, where)
        last = line
        placed = False
        for prefix in line.prefixes:
            if prefix in but:
                continue
            placed = True
            six, bits, key = place_of(prefix)
            for role, word in given:
                # Equal to the table, and made in a fifth of the time.
                known = entries.get(cast("Table", (role, six, bits)))
                if known is None:
                    known = entries[Table(role, six, bits)] = {}
                known[key] = word
        if not placed or not number:
            continue
        for role, word in given:
            if role is Role.MAIL and what.mail is not None:
                limits[word] = what.mail
            elif role is Role.DOWN and what.rate is not None:
                classes.update({Class(device, number): on_wire(what.rate[0]) for device in where.down})
            elif role is Role.UP and what.rate is not None:
                classes[Class(where.up, number)] = on_wire(what.rate[1])
    return State(entries, limits, classes)


def _given(line: Line, where: Where) -> tuple[tuple[Role, str], ...]:
    """What each address of a line stands for, by role."""
    what, number = line.what, line.number
    given: list[tuple[Role, str]] = []
    if what.silenced:
        given.append((Role.SILENCE, ""))
    if what.mail == 0:
        given.append((Role.NO_MAIL, ""))
    elif what.mail is not None and number:
        given.append((Role.MAIL, limit_name(number, what.mail)))
    if what.rate is not None and number:
        word = class_word(number)
        given += ((Role.DOWN, word), (Role.UP, word))
    if line.counted:
        given += _COUNTED
    return tuple([one for one in given if one[0] in where.roles])


_COUNTED = ((Role.COUNT_DOWN, ""), (Role.COUNT_UP, ""), (Role.COUNT_MAIL, ""))


def numbers_found(found: State, prefixes: Mapping[str, Collection[Prefix]]) -> dict[str, int]:
    """Customer → the number the kernel has for its addresses, so that a start changes nothing that is right.

    A number is one customer's: of several the first keeps it. One of a line that was not slowed may be more than a class can have.
    """
    kept: dict[str, int] = {}
    taken: set[int] = set()
    for customer, own in prefixes.items():
        words = (found.word(role, prefix) for prefix in own for role in (Role.DOWN, Role.UP, Role.MAIL))
        number = next((one for word in words if word is not None and (one := number_of(word)) is not None), None)
        if number is not None and number > 0 and number not in taken:
            kept[customer] = number
            taken.add(number)
    return kept
