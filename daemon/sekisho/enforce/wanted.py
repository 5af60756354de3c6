"""What measures want of the kernel: lines of customers → its state.

Owns which tables an address goes to. An address that two customers say is theirs is nobody's here: whatever was done
to it would reach the other one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from sekisho.enforce.state import (
    PARTED,
    USAGE,
    WHOLE,
    Class,
    Role,
    State,
    Table,
    class_word,
    limit_name,
    number_of,
    on_wire,
    part_of,
    parts_of,
    place_of,
)
from sekisho.model.customers import Prefix
from sekisho.model.measures import Enforcement

_SLOWED = frozenset({Role.DOWN, Role.UP})


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
    if len(given) == 2:
        # Of a hundred thousand lines most have an address and a prefix.
        first, last = min(given), max(given)
        within = first.length <= last.length and not (first.value ^ last.value) >> (128 - first.length)
        return (first,) if within else (first, last)
    kept: list[Prefix] = []
    for one in sorted(set(given)):
        outer = kept[-1] if kept else None
        if outer is None or outer.length > one.length or (one.value ^ outer.value) >> (128 - outer.length):
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
    roles: tuple[Role, ...] = ()
    given: Sequence[tuple[Role, str]] = ()
    limited = slowed = False
    for line in lines:
        prefixes, what, number, counted = line
        # Most lines have the same on them, but for the number.
        alike = last is not None and (what is last.what or what == last.what) and counted is last.counted
        if last is None or not alike or (number > 0) is not (last.number > 0):
            roles = _roles(line, where)
            given = [(role, "") for role in roles]
            limited, slowed = Role.MAIL in roles, not _SLOWED.isdisjoint(roles)
        last = line
        if limited or slowed:
            mail, rate = limit_name(number, what.mail or 0) if limited else "", class_word(number) if slowed else ""
            given = [(role, mail if role is Role.MAIL else rate if role in _SLOWED else "") for role in roles]
        placed = False
        for prefix in prefixes:
            if prefix in but:
                continue
            placed = True
            six, bits, key = place_of(prefix)
            part = part_of(prefix) if counted else WHOLE
            for role, word in given:
                # Equal to the table, and made in a fifth of the time.
                table = cast("Table", (role, six, bits, part if role in PARTED else WHOLE))
                known = entries.get(table)
                if known is None:
                    # With one part all others: rules are written anew for each that comes.
                    entries |= {Table(role, six, bits, one): {} for one in parts_of(role)}
                    known = entries[table]
                known[key] = word
        if not placed or not number:
            continue
        if limited and what.mail is not None:
            limits[mail] = what.mail
        if slowed and what.rate is not None:
            if Role.DOWN in roles:
                classes.update({Class(device, number): on_wire(what.rate[0]) for device in where.down})
            if Role.UP in roles:
                classes[Class(where.up, number)] = on_wire(what.rate[1])
    return State(entries, limits, classes)


def _roles(line: Line, where: Where) -> tuple[Role, ...]:
    """The roles of each address of a line."""
    what, numbered = line.what, line.number > 0
    given: list[Role] = []
    if what.silenced:
        given.append(Role.SILENCE)
    if what.mail == 0:
        given.append(Role.NO_MAIL)
    elif what.mail is not None and numbered:
        given.append(Role.MAIL)
    if what.rate is not None and numbered:
        given += (Role.DOWN, Role.UP)
    if line.counted:
        given += (*USAGE, Role.COUNT_QUERIES)
    return tuple([one for one in given if one in where.roles])


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
