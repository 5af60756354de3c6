"""What the kernel holds of ours: entries of tables, limits and classes, as values.

`State` is a part of the kernel and nothing else: what is not ours is in none. It says the same of what is wanted
and of what was found, so that the two can be compared.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sekisho.model.customers import V4_MAPPED, Prefix

MAJOR = 0x5EC1
"""Our HTB qdiscs have this handle: a root with another one is not ours."""
MOST_NUMBERS = 0xFFFE
"""Slowed lines have numbers from 1 to this: minor numbers of classes, and handles of the queues in them,"""
NO_NUMBER = MAJOR
"""of which this is taken. Other lines have greater ones, in the names of their limits."""
HEADERS = 1.035
"""The kernel counts whole frames; with full ones this leaves the promised rate to what they carry, less 1 % to 2.5 %."""
DRAIN = 1_250_000_000
"""Rate (bytes/s) of a class nothing is put in any more: what waits there is sent at once, and not lost."""
ODD = 0
"""In place of the rate of a class, as found, that is not as we make one of any rate: it is wanted nowhere."""


class Role(enum.StrEnum):
    """What being in a table means for an address. The words name the tables in the kernel."""

    SILENCE = "silence"
    """Queries from it are dropped, and counted."""
    NO_MAIL = "nomail"
    """Connections from it to ports of mail are refused."""
    MAIL = "mail"
    """They are, beyond so many a minute."""
    DOWN = "down"
    """What goes to it is in a class of its customer's."""
    UP = "up"
    """What comes from it is."""
    COUNT_DOWN = "countdown"
    """What goes to it is counted."""
    COUNT_UP = "countup"
    """What comes from it is."""
    COUNT_MAIL = "countmail"
    """Connections from it to ports of mail are."""
    COUNT_QUERIES = "countqueries"
    """Queries from it to name servers are, those that are dropped apart."""


USAGE = (Role.COUNT_DOWN, Role.COUNT_UP, Role.COUNT_MAIL)
"""Roles of which usage is counted."""
COUNTING = frozenset({*USAGE, Role.COUNT_QUERIES})
"""Roles that limit nobody."""
PARTED = frozenset({Role.COUNT_QUERIES})
"""Roles of everybody that are read often. The kernel tells a table in messages of some 500 addresses, and for each goes through all
that it told before: it takes the square of the entries, and of 16 tables a sixteenth. Finding the part costs a packet some 60 ns:
nothing to a query, but too much for all that passes.
"""
WHOLE = -1
"""In place of a part: all addresses are in one table."""
PARTS = 16
"""Tables in place of one, by the last four bits of the prefixes."""


class Table(NamedTuple):
    """One table of the kernel: addresses of a role, of one family and one length of prefix, or the part of them that ends alike.

    Looking up the address less its last bits in a hash takes the same time with one entry and with a million, and adding one does too.
    """

    role: Role
    six: bool
    bits: int
    part: int = WHOLE

    @property
    def name(self) -> str:
        whole = f"{self.role}{6 if self.six else 4}_{self.bits}"
        return whole if self.part == WHOLE else f"{whole}_{self.part:x}"


class Class(NamedTuple):
    """An HTB class: its device, and the minor number."""

    device: str
    number: int


Entries = Mapping[Table, Mapping[bytes, str]]
"""Addresses by table, in the order of the network (4 or 16 bytes, as the kernel has them), and what each stands for."""


@dataclass(frozen=True, slots=True)
class State:
    """`entries`: what each address stands for - a class (`5ec1:2`), the name of a limit, or nothing. A table that is there and
    empty has no addresses.
    """

    entries: Entries = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    """Limits of mail by name: connections a minute."""
    classes: Mapping[Class, int] = field(default_factory=dict)
    """Rate of each, bytes/s of frames (`on_wire`), or `ODD`."""
    busy: frozenset[Class] = frozenset()
    """Classes, as found, in which packets wait."""

    @property
    def tables(self) -> frozenset[Table]:
        return frozenset(self.entries)

    def role(self, role: Role) -> int:
        """Entries of a role."""
        return sum(len(known) for table, known in self.entries.items() if table.role is role)

    def word(self, role: Role, prefix: Prefix) -> str | None:
        """What an address stands for; None: it is not in a table of the role."""
        six, bits, key = place_of(prefix)
        return self.entries.get(Table(role, six, bits, part_of(prefix) if role in PARTED else WHOLE), {}).get(key)

    def each(self) -> Iterator[tuple[Role, Prefix, str]]:
        """Role, address and what it stands for, of every entry."""
        for table, known in self.entries.items():
            for key, word in known.items():
                yield table.role, prefix_of(table, key), word


def place_of(prefix: Prefix) -> tuple[bool, int, bytes]:
    """Which tables an address is in: whether of IPv6, the length of its prefix there, and its key."""
    value, length = prefix
    if length >= 96 and value >> 32 == 0xFFFF:
        return False, length - 96, (value & 0xFFFFFFFF).to_bytes(4, "big")
    return True, length, value.to_bytes(16, "big")


def part_of(prefix: Prefix) -> int:
    """Which part of a role that has parts an address is in."""
    value, length = prefix
    if length >= 96 and value >> 32 == 0xFFFF:
        value &= 0xFFFFFFFF
    return value >> 128 - length & PARTS - 1


def parts_of(role: Role) -> Sequence[int]:
    """The parts there are of a role, all or none."""
    return range(PARTS) if role in PARTED else (WHOLE,)


def prefix_of(table: Table, key: bytes) -> Prefix:
    value = int.from_bytes(key, "big")
    return Prefix(value, table.bits) if table.six else Prefix(V4_MAPPED | value, table.bits + 96)


def on_wire(rate: int) -> int:
    """The kernel's rate (bytes/s of frames) for a promised one (bit/s)."""
    return max(1, round(rate * HEADERS / 8))


def class_word(number: int) -> str:
    return f"{MAJOR:x}:{number:x}"


def limit_name(number: int, per_minute: int) -> str:
    """The rate is part of the name: a limit cannot be changed in the kernel, only taken the place of."""
    return f"m{number}_{per_minute}"


def number_of(word: str) -> int | None:
    """The number of a line in what an entry stands for; None: nothing of ours."""
    try:
        if word.startswith(f"{MAJOR:x}:"):
            return int(word.partition(":")[2], 16)
        if word.startswith("m"):
            return int(word[1:].partition("_")[0])
    except ValueError:
        return None
    return None
