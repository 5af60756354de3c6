"""From what was read of the kernel to the steps, and to what is known after them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sekisho.enforce.difference import Change, Known, difference
from sekisho.enforce.state import State
from sekisho.enforce.wanted import Line, Where, contested, state_of
from sekisho.model.customers import Prefix


@dataclass(frozen=True, slots=True)
class Plan:
    """`owners`: whose each address is; `rivals`: those who have one that others have, too; `draining`: classes are there that have to go.

    `tables` and `classes`: steps taken because something else was found than was there before.
    """

    change: Change
    known: Known
    owners: dict[Prefix, str]
    rivals: dict[Prefix, set[str]]
    draining: bool
    tables: int
    classes: int


def planned(lines: Mapping[str, Line], found: State, where: Where, before: Known) -> Plan:
    """`before` is what was known before it was read."""
    disputed = contested(lines.values())
    wanted = state_of(lines.values(), where, disputed)
    change = difference(found, wanted)
    known = Known.of(found)
    known.take(change)
    owners = {prefix: customer for customer, line in lines.items() for prefix in line.prefixes}
    tables = 0
    for table, keys in change.entries().items():
        was, there = before.entries.get(table, {}), found.entries.get(table, {})
        tables += sum(was.get(key) != there.get(key) for key in keys)
    concerned = {*change.put_classes, *change.drop_classes}
    classes = sum(before.classes.get(one) != found.classes.get(one) for one in concerned)
    draining = bool(known.classes.keys() - wanted.classes.keys())
    return Plan(change, known, owners, rivals_in(lines, disputed), draining, tables, classes)


def rivals_in(lines: Mapping[str, Line | None], disputed: Collection[Prefix]) -> dict[Prefix, set[str]]:
    found: dict[Prefix, set[str]] = {}
    for customer, line in lines.items() if disputed else ():
        for prefix in line.prefixes if line is not None else ():
            if prefix in disputed:
                found.setdefault(prefix, set()).add(customer)
    return found
