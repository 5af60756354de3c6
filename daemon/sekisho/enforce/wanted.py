"""What measures want of the kernel: lines of customers → its state.

Owns which tables an address goes to. An address that two customers say is theirs is nobody's here: whatever was done
to it would reach the other one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sekisho.enforce.state import MOST_NUMBERS, Class, Entry, Role, State, class_word, limit_name, number_of, on_wire
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


@dataclass(frozen=True, slots=True)
class Line:
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
    count = Counter(prefix for line in lines for prefix in line.prefixes)
    return frozenset(prefix for prefix, many in count.items() if many > 1)


def state_of(lines: Iterable[Line], where: Where, but: Collection[Prefix] = ()) -> State:
    """The kernel as the lines want it; `but` are prefixes nothing is done to."""
    entries: dict[Entry, str] = {}
    limits: dict[str, int] = {}
    classes: dict[Class, int] = {}
    for line in lines:
        prefixes = [one for one in line.prefixes if one not in but]
        given = _given(line, where)
        for role, word in given.items():
            for prefix in prefixes:
                entries[Entry(role, prefix)] = word
        if not prefixes:
            continue
        if Role.MAIL in given and line.what.mail is not None:
            limits[given[Role.MAIL]] = line.what.mail
        if line.what.rate is not None and line.number:
            if Role.DOWN in given:
                classes.update({Class(device, line.number): on_wire(line.what.rate[0]) for device in where.down})
            if Role.UP in given:
                classes[Class(where.up, line.number)] = on_wire(line.what.rate[1])
    return State(entries, limits, classes, frozenset(entry.table for entry in entries))


def _given(line: Line, where: Where) -> dict[Role, str]:
    """What each address of a line stands for, by role."""
    what, number = line.what, line.number
    given: dict[Role, str] = {}
    if what.silenced:
        given[Role.SILENCE] = ""
    if what.mail == 0:
        given[Role.NO_MAIL] = ""
    elif what.mail is not None and number:
        given[Role.MAIL] = limit_name(number, what.mail)
    if what.rate is not None and number:
        given |= {Role.DOWN: class_word(number), Role.UP: class_word(number)}
    if line.counted:
        given |= {Role.COUNT_DOWN: "", Role.COUNT_UP: "", Role.COUNT_MAIL: ""}
    return {role: word for role, word in given.items() if role in where.roles}


def numbers_found(found: State, prefixes: Mapping[str, Collection[Prefix]]) -> dict[str, int]:
    """Customer → the number the kernel has for its addresses, so that a start changes nothing that is right.

    A number is one customer's: of several the first keeps it.
    """
    kept: dict[str, int] = {}
    taken: set[int] = set()
    for customer, own in prefixes.items():
        words = (found.entries.get(Entry(role, prefix)) for prefix in own for role in (Role.DOWN, Role.UP, Role.MAIL))
        number = next((one for word in words if word is not None and (one := number_of(word)) is not None), None)
        if number is not None and 0 < number <= MOST_NUMBERS and number not in taken:
            kept[customer] = number
            taken.add(number)
    return kept
